"""Several processes under ``torchrun``: one flat all-reduce of the gradients a phase.

The networks stay raw modules.  A wrapper that hooks every backward pass would be wrong for two
critic passes in one loss and for gradient penalties; averaging what is in ``.grad`` is not.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor, nn

from emulators.errors import InputError

__all__ = ["World", "check_same", "choose_device", "join", "leave"]


@dataclass(frozen=True)
class World:
    """Which process this is, of how many, and the device that it works on."""

    rank: int
    size: int
    device: torch.device

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        torch.distributed.all_reduce(flat)
        flat /= self.size
        pieces = torch.split(flat, [g.numel() for g in gradients])
        torch._foreach_copy_(gradients, [f.view_as(g) for f, g in zip(pieces, gradients)])

    def agree(self, *numbers: float) -> tuple[float, ...]:
        """Return the largest of each number over the processes, the same on all of them."""
        if self.size == 1:
            return numbers
        shared = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
        return tuple(shared.tolist())

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of a tensor over the processes."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
            values /= self.size
        return values

    def part(self, numbers: Tensor) -> Tensor:
        """Return this process's rows of numbers that were drawn for the batch of all of them."""
        rows = len(numbers) // self.size
        return numbers[self.rank * rows : (self.rank + 1) * rows]

    def share(self, modules: Iterable[nn.Module]) -> None:
        """Give every process the weights and buffers of the first one."""
        if self.size > 1:
            for tensor in _tensors(modules):
                torch.distributed.broadcast(tensor, 0)

    def wait(self) -> None:
        """Return when all processes are here."""
        if self.size > 1:
            torch.distributed.barrier()


def _tensors(modules: Iterable[nn.Module]) -> list[Tensor]:
    return [t.detach() for m in modules for t in m.state_dict().values() if isinstance(t, Tensor)]


def check_same(world: World, modules: Iterable[nn.Module]) -> None:
    """Raise RuntimeError where the processes' weights differ: called before every checkpoint."""
    if world.size == 1:
        return
    with torch.no_grad():
        sums = [
            s
            for m in modules
            for p in m.parameters()
            for s in (p.double().sum(), p.double().square().sum())
        ]
        mine = torch.stack(sums)
    low, high = mine.clone(), mine.clone()
    torch.distributed.all_reduce(low, torch.distributed.ReduceOp.MIN)
    torch.distributed.all_reduce(high, torch.distributed.ReduceOp.MAX)
    if not torch.equal(low, high):
        raise RuntimeError(
            f"the {world.size} processes no longer hold the same weights; stop and resume from the "
            "last checkpoint"
        )


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of this process.

    Parameters
    ----------
    name
        ``auto``: CUDA where there is one, else CPU; or a torch device.  ``cuda`` under ``torchrun``
        is the device of the process's local rank.

    Raises
    ------
    InputError
        The device is unknown or absent.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if name == "cuda" and "LOCAL_RANK" in os.environ:
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"training.device = '{name}' cannot be used: {reason}") from None
    return device


def join(device: str = "auto") -> World:
    """Return this process's place; under ``torchrun``, meet the other processes first."""
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    chosen = choose_device(device)
    if size > 1:
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        backend = "nccl" if chosen.type == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, rank=rank, world_size=size)
    return World(rank, size, chosen)


def leave(world: World) -> None:
    """Part from the other processes."""
    if world.size > 1:
        torch.distributed.destroy_process_group()
