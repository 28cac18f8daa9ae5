"""The last corrections of a generator of fields: a filter in ``k`` and a map of values.

A trained network leaves a few per cent of error in mean power spectrum and one-point distribution.
The filter takes away the first, acting on its Gaussianised field, and the map the second, making
normal numbers of what is filtered.  Both are polynomials of the conditions, fitted to training
samples; the spectra compared are those of the `density`.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from emulators.networks.summaries import density
from emulators.starts.one_point import OnePoint, evaluated
from emulators.starts.polynomials import features, log_mean, regress
from emulators.starts.spectrum import Spectrum

__all__ = ["Corrections", "Target", "target_of"]

ROUNDS, DAMPING = 4, 0.7  # of the filter: it acts before maps that are not linear
TAIL, STRETCH = 2.0, 0.02  # where the tail begins, a normal number, and a trial stretch of it
SHORTENED = 2  # times that the tail is
CONDITIONS = 256  # at which a stretch is regressed


@dataclass(frozen=True)
class Target:
    """What training samples say of their density.

    Parameters
    ----------
    exponent
        Of the `density`.
    mean
        Over all cells, without dimensions; it is taken off: else it outshines the largest scales.
    spectrum
        The power spectrum of what is left.
    log_square
        Polynomials of the conditions: the logarithm of its mean square, ``(terms, channels)``.
    """

    exponent: float
    mean: Tensor
    spectrum: Spectrum
    log_square: Tensor

    def contrast(self, x: Tensor) -> Tensor:
        """Return densities less their mean, the shape of ``x``."""
        return density(x, self.exponent) - self.mean


def target_of(
    x: Tensor, c: Tensor, simulations: Tensor | None, exponent: float, spectrum: Spectrum
) -> Target:
    """Measure what samples say.

    Parameters
    ----------
    x, c, simulations
        As `Generator.initialise` takes them.
    exponent
        Of the `density`.
    spectrum
        One of these fields; it is copied, not changed.
    """
    dense = density(x, exponent)
    mean = dense.mean()
    contrast, spectrum = dense - mean, copy.deepcopy(spectrum)
    spectrum.fit(contrast, c, simulations)
    return Target(exponent, mean, spectrum, log_mean(_mean_square(contrast), c, simulations))


class Corrections:
    """A filter and a map of values, which act once they are fitted.

    Parameters
    ----------
    spectrum
        What the modes of Gaussianised fields are filtered with.
    remap
        From filtered fields to standard normal numbers.
    one_point
        From those to the values of the data.

    Attributes
    ----------
    fitted
        Whether they act.
    """

    def __init__(self, spectrum: Spectrum, remap: OnePoint, one_point: OnePoint) -> None:
        self.spectrum, self.remap, self.one_point = spectrum, remap, one_point
        self.fitted = False

    def filtered(self, y: Tensor, c: Tensor) -> Tensor:
        """Return Gaussianised fields ``(n, channels, *domain)`` as the filter leaves them."""
        return self.spectrum.multiplied(y, c)[0] if self.fitted else y

    def values(self, y: Tensor, c: Tensor) -> Tensor:
        """Map filtered fields to the values of the data, through a single table of the maps."""
        grid = self.one_point.grid(c)
        normal = self.remap.inverse(grid, c) if self.fitted else grid
        return evaluated(self.one_point(normal, c), y)

    @torch.no_grad()
    def fit(
        self,
        gaussianised: Sequence[Tensor],
        conditions: Sequence[Tensor],
        target: Target,
        inner: Callable[[Tensor], Tensor],
    ) -> None:
        """Fit both, so that densities have the spectrum, distribution and mean square of a target.

        Parameters
        ----------
        gaussianised, conditions
            What the trained network makes, in pieces ``(n, channels, *domain)``, at ``(n, k)``.
        target
            See `target_of`.
        inner
            Cuts the margins off a field.
        """
        c = torch.cat(list(conditions))
        self.spectrum.log_k.copy_(target.spectrum.log_k)
        self.spectrum.coefficients.zero_()
        self.fitted = True

        def filtered() -> list[Tensor]:
            fields = [self.filtered(y.float(), p) for y, p in zip(gaussianised, conditions)]
            self.remap.fit(torch.cat([inner(y) for y in fields]), c)
            return fields

        def contrasts(fields: Sequence[Tensor]) -> Tensor:
            values = (inner(self.values(y, p)) for y, p in zip(fields, conditions))
            return torch.cat([target.contrast(x) for x in values])

        generated = copy.deepcopy(self.spectrum)
        for _ in range(ROUNDS):
            generated.fit(contrasts(filtered()), c, around=target.spectrum)
            missing = target.spectrum.coefficients - generated.coefficients
            self.spectrum.coefficients += DAMPING * missing
        fields = filtered()
        for _ in range(SHORTENED):
            excess = log_mean(_mean_square(contrasts(fields)), c) - target.log_square
            self._shorten_tail(excess, c[:CONDITIONS], target)

    def _shorten_tail(self, excess: Tensor, c: Tensor, target: Target) -> None:
        """Shorten the tail of the densities so far that ``excess`` of log mean squares goes.

        Where power is in the rarest cells the map of values, which follows their numbers alone,
        leaves mean squares off by some per cent; ``excess`` are polynomials of the conditions.
        """
        normal = self.one_point.grid(c)
        weight = torch.exp(-normal.square() / 2)
        log_squares = []
        for stretch in (0.0, STRETCH):
            x = self.one_point(normal - stretch * (normal - TAIL).clamp_min(0), c)
            log_squares.append((target.contrast(x).square() * weight).sum(2).log())
        slope = (log_squares[0] - log_squares[1]).double().cpu() / STRETCH
        design = features(c.double()).cpu()
        stretches = regress(design, (design @ excess) / slope).to(self.remap.coefficients)
        beyond = (self.remap.table(c).mean(0) - TAIL).clamp_min(0)
        self.remap.coefficients -= stretches.T[:, :, None] * beyond[:, None]


def _mean_square(x: Tensor) -> Tensor:
    """Return the mean squares of fields, ``(n, channels)``."""
    return x.flatten(2).square().mean(2)
