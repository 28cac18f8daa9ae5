"""A Gaussian field as the start of `field`: it has the data's spectrum, and nothing else of it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from emulators.data.spec import SampleSpec
from emulators.starts.polynomials import degree
from emulators.starts.spectrum import Spectrum

__all__ = ["GaussianStart"]

CHUNK = 1 << 22  # cells worked on at once


class GaussianStart(nn.Module):
    """A Gaussian field of the power of the Gaussianised data (Weinberg 1992, MNRAS 254, 315).

    Mapped back, it has the one-point distribution of the data and nearly their spectrum.
    """

    extra = 0  # channels that the network sees beside the field and the noise

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__()
        self.channels = spec.shape[0]
        self.spectrum = Spectrum(spec)

    @torch.no_grad()
    def fit(
        self,
        x: Tensor,
        c: Tensor,
        simulations: Tensor | None,
        domain: list[int],
        normal: Callable[[Tensor, Tensor], Tensor],
        finished: Callable[[Tensor, Tensor], Tensor],
    ) -> int:
        """Fit to samples ``x``, which ``normal(x, c)`` Gaussianises.

        ``domain`` and ``finished`` are for starts that have to try what comes of them.  Returns the
        degree of the power spectrum, a polynomial of the conditions.
        """
        chunk = max(1, CHUNK // x[0].numel())
        pieces = zip(torch.split(x, chunk), torch.split(c, chunk))
        self.spectrum.fit(torch.cat([normal(a, b).bfloat16() for a, b in pieces]), c, simulations)
        return degree(self.spectrum.coefficients[0], c.shape[1])

    def forward(self, white: Tensor, c: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the field, and what the network sees: the field and the noise.

        ``white (n, channels + noise, *cells)`` is white noise.
        """
        field: Tensor = self.spectrum(white[:, : self.channels], c)
        return field, [field, white[:, self.channels :]]
