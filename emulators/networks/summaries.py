"""What the critic of `field` is told about a field: spectra, distributions, peaks."""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emulators.networks.residual import halved
from emulators.starts.polynomials import averaged, decided, features, n_features, regress
from emulators.starts.spectrum import shell_means, taper

__all__ = ["Summaries", "density"]

THRESHOLDS = 16  # of the one-point distributions
SMOOTHINGS = (1, 2, 4, 8)  # cells averaged along each side, of these distributions
STEEPNESS = 6.0  # of the step from count to count in gradients of what is a peak
LARGEST = 15.0  # exponent
AT_ONCE = {"cpu": 1 << 18, "cuda": 1 << 27}  # cells above thresholds: a cache's, or few launches


class Summaries(nn.Module):
    """Logarithms of spectra and of shares of cells, as pulls from their mean at the conditions.

    Spectra of the field and of its `density`; shares of cells above thresholds, of the field
    averaged over more and more cells and of what each average leaves out (Haar's wavelets); and, of
    whole counts and of each average, shares that are peaks or minima beyond thresholds: below the
    lower ones, above the others, since few are there.

    Parameters
    ----------
    channels, cells, periodic
        Of the fields.
    conditions
        How many conditions they have.
    peaks
        Whether values are logarithms of one plus whole counts, whose peaks and minima are counted.
    """

    share: Tensor
    window: Tensor
    lower: Tensor
    threshold: Tensor
    softness: Tensor
    centre: Tensor
    width: Tensor
    exponent: float = 1.0  # of the `density`

    def __init__(
        self,
        channels: int,
        cells: Sequence[int],
        periodic: Sequence[bool],
        conditions: int,
        peaks: bool,
    ) -> None:
        super().__init__()
        self.peaks = peaks
        self.scales = [s for s in SMOOTHINGS if min(cells) >= 4 * s]
        self.register_buffer("share", shell_means(cells), persistent=False)
        self.register_buffer("window", taper(cells, periodic), persistent=False)
        planes = 2 * len(self.scales)
        size = channels * (2 * self.share.shape[1] + planes * (1 + peaks) * THRESHOLDS)
        self.register_buffer("threshold", torch.zeros(planes, channels, THRESHOLDS))
        self.register_buffer("softness", torch.ones(planes, channels, 1))
        lower = torch.arange(THRESHOLDS) < THRESHOLDS // 2
        self.register_buffer("lower", lower, persistent=False)
        self.register_buffer("centre", torch.zeros(n_features(conditions), size))
        self.register_buffer("width", torch.ones(size))

    @torch.no_grad()
    def fit(self, x: Tensor, c: Tensor, simulations: Tensor | None = None) -> None:
        """Fit thresholds, and mean and width of what is measured, to samples and conditions."""
        at = torch.special.ndtr(torch.linspace(-2.5, 3.2, THRESHOLDS).double())
        for i, plane in enumerate(self._planes(x)):
            for channel, values in enumerate(plane.flatten(2).unbind(1)):
                some = values.flatten()
                some = some[:: max(1, len(some) // 4_000_000)].sort().values
                self.threshold[i, channel] = some[(at * (len(some) - 1)).round().long()]
                spread = some[int(0.84 * len(some))] - some[int(0.16 * len(some))]
                self.softness[i, channel] = (0.1 * spread).clamp_min(1e-3)
        chunk = max(1, (1 << 23) // math.prod(x.shape[1:]))
        found = torch.cat([self._measured(some) for some in torch.split(x, chunk)])
        means, at, numbers = averaged(found, c, simulations)
        terms = decided(means, at, numbers)
        self.centre.zero_()
        self.centre[:terms] = regress(features(at)[:, :terms], means).to(self.centre)
        rest = (
            (found.double() - features(c.double()) @ self.centre.double()).square().mean(0).sqrt()
        )
        self.width.copy_(rest.clamp_min(1e-4))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Return how many widths each summary is from its mean at ``c``, ``(n, summaries)``."""
        pulls: Tensor = (self._measured(x) - features(c) @ self.centre) / self.width
        return pulls

    def _planes(self, x: Tensor) -> Iterator[Tensor]:
        """Yield, scale by scale, the averaged field and what the next average leaves out."""
        for _ in self.scales:
            yield x
            coarse = halved(x)
            yield x - F.interpolate(coarse, scale_factor=2.0, mode="nearest")
            x = coarse

    def _measured(self, x: Tensor) -> Tensor:
        dims = tuple(range(2, x.ndim))
        parts = []
        # the density itself: its power is in the rare peaks
        for values in (x, density(x, self.exponent)):
            values = values - values.mean(dims, keepdim=True)
            power = torch.fft.rfftn(values * self.window, dim=dims).abs().square().flatten(2)
            parts.append((power @ self.share + 1e-6).log().flatten(1))
        for i, plane in enumerate(self._planes(x)):
            parts.append(self._above(i, plane).clamp_min(1e-6).log().flatten(1))
            if self.peaks and i % 2 == 0:
                # a peak of whole counts is one higher than all around it, or more
                unit = self.softness[i + 1].view(-1, *[1] * len(dims))
                heights = STEEPNESS * density(plane) if i == 0 else plane / unit
                least = 0.5 * STEEPNESS if i == 0 else 0.0
                for sign in (1, -1):
                    peaks = _peaks(sign * heights, least)
                    share = self._above(i, plane, peaks)
                    below = peaks.flatten(2).mean(2, keepdim=True) - share
                    few = torch.where(self.lower, below, share).clamp_min(0)
                    parts.append((few + 0.5 / plane[0, 0].numel()).log().flatten(1))
        return torch.cat(parts, 1)

    def _above(self, i: int, plane: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the share of cells above each threshold of plane ``i``, ``(n, channels, T)``."""
        values = plane.flatten(2)[:, :, None]
        at_once = max(1, AT_ONCE.get(values.device.type, 0) // values.numel())
        softness, shares = self.softness[i][..., None], []
        for some in torch.split(self.threshold[i], at_once, 1):
            above = torch.sigmoid((values - some[..., None]) / softness)
            if weight is not None:
                above = above * weight.flatten(2)[:, :, None]
            shares.append(above.mean(3))
        return torch.cat(shares, 2)


def density(x: Tensor, exponent: float = 1.0) -> Tensor:
    """Return the density, up to factor and offset: ``exp(exponent x)``.

    Where the transform is no logarithm the exponent is 0, and the density ``x`` itself.
    """
    return (exponent * x).clamp_max(LARGEST).exp() if exponent else x


def _peaks(x: Tensor, least: float) -> Tensor:
    """Return 1 for values ``least`` above all their neighbours, else 0; ends meet.

    Gradients are those of a logistic step: with that itself, many equal neighbours look like peaks.
    """
    box, around = x, torch.full_like(x, -math.inf)  # along the axes so far, with and without itself
    for axis in range(2, x.ndim):
        sides = torch.maximum(box.roll(1, axis), box.roll(-1, axis))
        around, box = torch.maximum(around, sides), torch.maximum(box, sides)
    soft = torch.sigmoid(x - around - least)
    return soft + ((x - around > least).to(soft) - soft).detach()
