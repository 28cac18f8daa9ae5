"""Updates as CUDA graphs: recorded once, then launched as a whole.

A step of small networks is thousands of kernels, each shorter than the time that Python takes to
launch it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Recorded"]

WARM_UP = 3  # calls before the recording: libraries choose their kernels and take their memory


class Recorded:
    """A function of tensors on a CUDA device that is recorded when it has been called a few times.

    From then on a call copies its arguments to where the recorded ones were, and launches the
    graph.  The function must not wait for the device, and must do the same at every call; what it
    returns is overwritten by the next one.

    Parameters
    ----------
    function
        Takes tensors, the same shapes each time, and returns tensors by name.
    stream
        Where it is called and recorded; functions of the same weights share one.
    """

    def __init__(
        self, function: Callable[..., dict[str, Tensor]], stream: torch.cuda.Stream
    ) -> None:
        self.function, self.stream = function, stream
        self.calls = 0
        self.graph = torch.cuda.CUDAGraph()
        self.arguments: tuple[Tensor, ...] = ()
        self.found: dict[str, Tensor] = {}

    def __call__(self, *arguments: Tensor) -> dict[str, Tensor]:
        """Do what the function does."""
        self.calls += 1
        if self.calls <= WARM_UP:
            return self._aside(arguments)
        if self.calls == WARM_UP + 1:
            self.arguments = tuple(a.clone() for a in arguments)
            torch.cuda.synchronize()
            with torch.cuda.graph(self.graph, stream=self.stream):  # nothing is computed yet
                self.found = self.function(*self.arguments)
        for kept, given in zip(self.arguments, arguments, strict=True):
            kept.copy_(given)
        self.graph.replay()
        return self.found

    def _aside(self, arguments: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Call the function on the stream of the recording: libraries must have met it there."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            found = self.function(*arguments)
        torch.cuda.current_stream().wait_stream(self.stream)
        return found
