"""A trained generator with its transform and its spec: all that is needed to draw samples."""

import contextlib
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import emulators.networks  # noqa: F401  (registers the architectures)
from emulators import random
from emulators.data.conditions import ConditionLaw, requested
from emulators.data.counts import COUNTS
from emulators.data.hdf5 import first_line
from emulators.data.spec import Samples, SampleSpec
from emulators.data.transforms import Transform, condition_tensor
from emulators.errors import InputError
from emulators.networks.base import Generator, build_generator

__all__ = ["FORMAT_VERSION", "Emulator", "name_of"]

FORMAT_VERSION = 1

_GPU_BYTES = 32 << 20  # deposits in one evaluation on a GPU, which small pieces leave idle


class Emulator:
    """Draws samples in physical units, at the conditions asked for.

    Parameters
    ----------
    generator
        The trained network.
    transform
        Its transform, fitted on the training split.
    spec
        What the samples are.
    architecture, options
        The registered name and the options that rebuild the generator.
    card
        Where the emulator comes from: recipe, seed, data hash, split, versions; plain values.
    name
        What to call it in files and reports.
    """

    def __init__(
        self,
        generator: Generator,
        transform: Transform,
        spec: SampleSpec,
        architecture: str,
        options: Mapping[str, Any],
        card: Mapping[str, Any] | None = None,
        name: str = "unsaved",
    ) -> None:
        self.generator = generator
        self.transform = transform
        self.spec = spec
        self.architecture = architecture
        self.options = dict(options)
        self.card = dict(card or {})
        self.name = name
        self._sha256 = ""

    @property
    def sha256(self) -> str:
        """Hash of the file, or of weights, spec and options where there is no file yet."""
        if self._sha256:
            return self._sha256
        plain = [self.architecture, self.options, self.spec.to_mapping(), self.transform.config]
        digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
        for key, tensor in self._state().items():
            digest.update(key.encode() + tensor.cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    @property
    def device(self) -> torch.device:
        """Where the generator is."""
        return next((p.device for p in self.generator.parameters()), torch.device("cpu"))

    @property
    def rows(self) -> int:
        """Samples in one evaluation of the network, a multiple of `random.block` of its latent.

        Evaluations are cut at multiples of this number counted from sample 0, so that equal pieces
        are evaluated whatever is asked around them.  On a CPU one block is within 10 % of the best
        piece: 55,000 samples a CPU second for a network of 0.7 million weights, 60,000 with 1,024
        rows, 58,000 with 4,096.
        """
        block = random.block(self.generator.latent)
        if self.device.type == "cpu":
            return block
        return block * max(1, _GPU_BYTES // (block * 4 * math.prod(self.spec.shape)))

    def to(self, device: str | torch.device) -> "Emulator":
        """Move the emulator to a device, e.g. ``"cuda"``; InputError where there is none."""
        try:
            target = torch.device(device)
        except RuntimeError:
            raise InputError(f"unknown device '{device}'; known: cpu, cuda, cuda:1 ...") from None
        try:
            self.generator.to(target)
            self.transform.to(target)
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"device '{device}' cannot be used: {first_line(error)}") from None
        return self

    def on_grid(self, cells: Sequence[int], *, periodic: bool | None = None) -> "Emulator":
        """Return an emulator of the same weights for fields of another size, of equal cells.

        Parameters
        ----------
        cells
            How many along each axis.
        periodic
            Whether all axes come round again; None: as the fields that it was trained on.

        Raises
        ------
        InputError
            The network makes fields of one size only, or not of this one.
        """
        spec, grid = self.spec, self.spec.grid
        if spec.kind != "field" or grid is None:
            raise InputError(f"'{self.name}' makes {spec.kind}s: only fields come in other sizes")
        if len(cells) != len(grid.axes) or min(cells) < 1:
            raise InputError(
                f"'{self.name}' makes fields with axes {', '.join(grid.axes)}: give "
                f"{len(grid.axes)} positive numbers of cells, not {list(cells)}"
            )
        lengths = (a / n * m for a, n, m in zip(grid.lengths, spec.shape[1:], cells))
        ends = grid.periodic if periodic is None else (periodic,) * len(cells)
        grid = replace(grid, lengths=tuple(lengths), periodic=ends)
        spec = replace(spec, shape=(spec.shape[0], *map(int, cells)), grid=grid)
        generator = build_generator(self.architecture, self.options, spec)
        config: dict[str, Any] = self.transform.config
        transform = Transform(spec, **config)
        try:
            generator.load_state_dict(self.generator.state_dict())
        except RuntimeError:
            raise InputError(
                f"'{self.name}': the weights of network '{self.architecture}' are for fields of "
                f"{'x'.join(map(str, self.spec.shape[1:]))} cells and no others"
            ) from None
        transform.load_state_dict(self.transform.state_dict())
        resized = Emulator(
            generator.eval(), transform, spec, self.architecture, self.options, self.card, self.name
        )
        resized._sha256 = self._sha256
        return resized.to(self.device)

    def untrained(self) -> "Emulator | None":
        """Return the start alone: what was fitted before training, and networks that add nothing.

        None where the network has no such start, or the file does not hold it.
        """
        generator = build_generator(self.architecture, self.options, self.spec)
        generator.load_state_dict(self.generator.state_dict())
        if not generator.restart():
            return None
        name = f"{self.name}, untrained"
        return Emulator(
            generator.eval(), self.transform, self.spec, self.architecture, self.options, name=name
        ).to(self.device)

    def law(
        self,
        n: int | None,
        conditions: Mapping[str, Any] | str | Path,
        *,
        allow_extrapolation: bool = False,
    ) -> ConditionLaw:
        """Return the law of a request's conditions, checked against the trained ranges.

        Parameters
        ----------
        n
            How many samples are asked for; None: as many as a file of conditions has.
        conditions
            By name, see `generate`; or a file of samples whose conditions are taken in order.
        allow_extrapolation
            Accept conditions outside the range that the training data covered.

        Raises
        ------
        InputError
            A condition is unknown, of the wrong unit or length, or out of range.
        """
        if isinstance(conditions, Mapping):
            law = requested(self.spec.conditions, conditions, n)
        else:
            law = ConditionLaw.from_file(conditions, self.spec.conditions, n)
        if law.extrapolates and not allow_extrapolation:
            known = self.spec.condition(law.extrapolates[0])
            raise InputError(
                f"{law.description} leaves the range that '{self.name}' was trained on, "
                f"{known.minimum:g} to {known.maximum:g} {known.unit}; to extrapolate all the "
                "same, say --allow-extrapolation (allow_extrapolation=True)"
            )
        return law

    def generate(
        self,
        n: int,
        *,
        seed: int = 0,
        start: int = 0,
        device: str | None = None,
        allow_extrapolation: bool = False,
        conditions: Mapping[str, Any] | None = None,
        **named: Any,
    ) -> Samples:
        """Draw samples ``start`` to ``start + n`` of the endless sequence that a seed stands for.

        Parameters
        ----------
        n
            How many samples.
        seed
            Sample ``i`` depends on ``(seed, i)`` and its conditions alone, not on ``n``.  On one
            machine every whole block of samples (256 showers, fewer fields: `random.block`,
            counted from sample 0) is bit-identical in any request that contains it; samples of a
            block of which only a part is asked for may differ in the last bit, since a matrix
            product may depend on its number of rows.
        start
            Index of the first sample.
        device
            Where to run, e.g. ``"cuda"``; None: where the emulator is.
        allow_extrapolation
            Accept conditions outside the range that the training data covered.
        conditions
            By the names of the spec, e.g. ``{"incident_energy": 50}``: a number in the spec's unit
            (GeV), an astropy quantity, an array of length ``n``, or a law such as ``"1:100:log"``
            or ``"5:50 MeV:linear"``; what is left out is drawn over its trained range.
        **named
            The same as keywords, ``incident_energy=50``, of conditions whose name no argument has.

        Returns
        -------
        The samples in physical units; for showers ``values (n, cells)``, MeV, none negative, and
        ``conditions["incident_energy"] (n,)``, GeV.

        Raises
        ------
        InputError
            The request cannot be met; the message says why.
        RuntimeError
            The network gave NaN or infinity; the message names the sample.
        """
        if n < 1 or start < 0:
            raise InputError(f"n = {n} samples from sample {start}: at least one, from 0 or later")
        if device is not None:
            self.to(device)
        if twice := sorted({*named} & {*(conditions or {})}):
            raise InputError(f"{', '.join(twice)}: asked twice, in conditions and as a keyword")
        asked = {**(conditions or {}), **named}
        law = self.law(n, asked, allow_extrapolation=allow_extrapolation)
        drawn = {}
        for one in law.laws:  # an array holds the conditions of these n samples alone
            first = start if one.table is None else 0
            drawn[one.condition.name] = one.draw(seed, first, first + n)
        return self._draw(drawn, seed, start, start + n)

    def draw(self, law: ConditionLaw, seed: int, start: int, stop: int) -> Samples:
        """Draw samples ``start`` to ``stop`` at the conditions of a law (see `generate`)."""
        return self._draw(law.draw(seed, start, stop), seed, start, stop)

    def _draw(
        self, conditions: dict[str, npt.NDArray[np.float32]], seed: int, start: int, stop: int
    ) -> Samples:
        physical = condition_tensor(self.spec, conditions, stop - start)
        values = np.empty((stop - start, *self.spec.shape), np.float32)
        rows, training = self.rows, self.generator.training
        self.generator.eval()
        try:
            for piece in range(start // rows * rows, stop, rows):
                a, b = max(start, piece), min(stop, piece + rows)
                z = random.normals(seed, "latent", a, b, self.generator.latent)
                x = self._evaluate(torch.from_numpy(z), physical[a - start : b - start])
                values[a - start : b - start] = x.cpu().numpy()
        finally:
            self.generator.train(training)
        finite = np.isfinite(values).reshape(len(values), -1).all(1)
        if not finite.all():
            first = int(np.argmin(finite))
            asked = ", ".join(f"{k} {v[first]:g}" for k, v in conditions.items())
            raise RuntimeError(
                f"emulator '{self.name}' gave NaN or infinity in {int((~finite).sum())} of "
                f"{stop - start} samples, the first is sample {start + first} of seed {seed}"
                + (f" ({asked})" if asked else "")
            )
        return Samples(values, conditions)

    @torch.inference_mode()
    def _evaluate(self, z: Tensor, conditions: Tensor) -> Tensor:
        """Map a latent ``(n, latent)`` at physical conditions ``(n, k)`` to physical values."""
        z, conditions = z.to(self.device), conditions.to(self.device)
        values = self.transform.inverse(
            self.generator(z, self.transform.scale(conditions)), conditions
        )
        # Networks without a positive last layer end a hair below 0.
        positive = self.spec.kind == "shower" or self.spec.unit in COUNTS
        return values.clamp_min(0) if positive else values

    def save(self, path: str | Path, *, compact: bool = False) -> None:
        """Write the emulator to one file, whole or not at all.

        ``compact`` stores the generator's weights as bfloat16, in half the space: what is loaded
        from it then has rounded weights (0.4 %), so measure that file, not this emulator.
        """
        path = Path(path)
        rounded = {f"generator.{name}" for name, _ in self.generator.named_parameters()}
        content = {
            "format": "emulators",
            "format_version": FORMAT_VERSION,
            "architecture": self.architecture,
            "options": self.options,
            "spec": self.spec.to_mapping(),
            "transform": self.transform.config,
            "state": {
                k: v.detach().cpu().bfloat16() if compact and k in rounded else v.detach().cpu()
                for k, v in self._state().items()
            },
            "card": self.card,
        }
        buffer = io.BytesIO()  # named alike for every path: equal emulators give equal files
        torch.save(content, buffer)
        temporary = path.with_name(path.name + ".tmp")
        try:
            temporary.write_bytes(buffer.getbuffer())
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise InputError(f"{path}: cannot be written: {error.strerror}") from None
        self._sha256 = hashlib.sha256(buffer.getbuffer()).hexdigest()
        self.name = name_of(path)

    def _state(self) -> dict[str, Tensor]:
        parts = {"generator": self.generator, "transform": self.transform}
        return {f"{p}.{k}": v for p, m in parts.items() for k, v in m.state_dict().items()}

    def describe(self) -> str:
        """Return a few lines: what is generated, in which range, by which network, from what."""
        spec, weights = self.spec, sum(p.numel() for p in self.generator.parameters())
        lines = [
            f"{self.name}: {spec.particle or spec.kind} {'x'.join(map(str, spec.shape))} "
            f"in {spec.unit}, layout {spec.layout}",
            *(
                f"  condition {c.name}: {c.minimum:g} to {c.maximum:g} {c.unit} ({c.scale})"
                for c in spec.conditions
            ),
            f"  network {self.architecture}: {weights:,} weights, {self.generator.latent} latents",
            f"  sha256 {self.sha256}",
            *(f"  {k}: {v}" for k, v in self.card.items() if isinstance(v, str | int | float)),
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        ranges = ", ".join(
            f"{c.name} {c.minimum:g}-{c.maximum:g} {c.unit}" for c in self.spec.conditions
        )
        shape = "x".join(map(str, self.spec.shape))
        return (
            f"<Emulator {self.name}: {self.architecture}, {self.spec.kind} of {shape} "
            f"in {self.spec.unit}" + (f", {ranges}>" if ranges else ">")
        )


def name_of(path: Path) -> str:
    """Return what an emulator in this file is called."""
    return path.absolute().parent.name if path.name == "emulator.pt" else path.stem
