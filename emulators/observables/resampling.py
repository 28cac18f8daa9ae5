"""Errors and floors by resampling whole simulations.

Fields cut from one simulation share its large scales: they are drawn, and halved, together.
``groups`` says which simulation each field is from; without it each field is its own.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.errors import InputError
from emulators.observables.distances import Measurement

__all__ = [
    "Groups",
    "Ratio",
    "compare",
    "measure_difference",
    "measure_differences",
    "same_n",
    "standard_error",
]

Array = npt.NDArray[np.float64]
Groups = npt.NDArray[Any] | None
Statistic = Callable[[npt.NDArray[Any]], Array]  # of rows: ``(points,)``


@dataclass(frozen=True)
class Ratio:
    """How the mean of a statistic over generated fields compares with the reference's, by bin.

    All arrays have shape ``(bins,)``.

    Parameters
    ----------
    ratio, error
        Mean of the generated over mean of the reference, and its standard deviation over bootstrap
        resamplings of the simulations of both.
    floor, floor_error
        What ``|ratio - 1|`` is without any difference, at the n of the ratio: the mean of ``|ratio
        - 1|`` between two halves of the reference over random halvings, brought from the number of
        simulations of the halves to that of the samples (`same_n`); and the standard error of that
        mean.
    generated, generated_error, reference, reference_error
        The means, and their standard errors.
    n
        Fields generated, and of the reference.
    simulations
        Independent ones among them: of each.
    """

    ratio: Array
    error: Array
    floor: Array
    floor_error: Array
    generated: Array
    generated_error: Array
    reference: Array
    reference_error: Array
    n: tuple[int, int]
    simulations: tuple[int, int]


class _Sums:
    """Sums of rows over each group, and how many rows it has."""

    def __init__(self, values: npt.NDArray[Any], groups: Groups, what: str) -> None:
        if groups is not None and len(groups) != len(values):
            raise InputError(f"{what}: {len(values)} rows but {len(groups)} groups")
        names = np.arange(len(values)) if groups is None else np.asarray(groups)
        found, self.index = np.unique(names, return_inverse=True)
        if len(found) < 2:
            raise InputError(
                f"{what}: {len(values)} fields of {len(found)} simulation: an error needs two or "
                "more simulations; without groups each field counts as one"
            )
        self.size = np.bincount(self.index).astype(np.float64)
        self.sums = np.zeros((len(found), values.shape[1]))
        np.add.at(self.sums, self.index, values)

    def mean(self, weights: npt.NDArray[Any]) -> Array:
        """Return means ``(..., bins)`` in which groups count ``weights (..., groups)`` times."""
        return np.asarray(weights @ self.sums / (weights @ self.size)[..., None])


class _Statistic:
    """Any statistic of rows, where `_Sums` has their mean."""

    def __init__(
        self, values: npt.NDArray[Any], groups: Groups, what: str, statistic: Statistic
    ) -> None:
        self.members, self.statistic = _Members(values, groups, what), statistic
        self.size = np.diff(self.members.ends).astype(np.float64)

    def mean(self, weights: npt.NDArray[Any]) -> Array:
        """Return it of samples in which groups count ``weights (..., groups)`` times."""
        if weights.ndim > 1:
            return np.stack([self.mean(w) for w in weights])
        times = weights.astype(np.int64)
        return self.statistic(self.members.rows(np.repeat(np.arange(len(times)), times)))


def _resampled(sample: _Sums | _Statistic, rng: np.random.Generator, resamplings: int) -> Array:
    """Return the means of bootstrap resamplings of the groups, ``(resamplings, bins)``."""
    n = len(sample.size)
    return sample.mean(rng.multinomial(n, np.full(n, 1 / n), resamplings))


def same_n(
    generated: tuple[int, int], reference: tuple[int, int], halves: tuple[int, int]
) -> float:
    """Return what brings a difference of means of two halves to the n of two whole samples.

    The mean of S simulations scatters by ``sqrt(1 / S)``, so a difference of two means by
    ``sqrt(1 / S_generated + 1 / S_reference)``, and that of halves by ``sqrt(2 / m)``.  Generated
    fields that are each their own count as simulations of as many fields as the reference's.

    Parameters
    ----------
    generated, reference
        Fields, and simulations, of each sample.
    halves
        Simulations of the first and of the second half.
    """
    simulations = min(generated[1], generated[0] * reference[1] / reference[0])
    whole = 1 / simulations + 1 / reference[1]
    return math.sqrt(whole / (1 / halves[0] + 1 / halves[1]))


def standard_error(
    values: npt.NDArray[Any],
    rng: np.random.Generator,
    groups: Groups = None,
    resamplings: int = 200,
) -> Array:
    """Return the standard error of the mean of rows ``(n, bins)``, in their unit, ``(bins,)``."""
    return np.asarray(_resampled(_Sums(values, groups, "bootstrap"), rng, resamplings).std(0))


def compare(
    generated: npt.NDArray[Any],
    reference: npt.NDArray[Any],
    rng: np.random.Generator,
    *,
    statistic: Statistic | None = None,
    groups: tuple[Groups, Groups] = (None, None),
    resamplings: int = 200,
    halvings: int = 20,
) -> Ratio:
    """Compare the mean of a statistic over fields with the reference's, bin by bin.

    Parameters
    ----------
    generated, reference
        The statistic of every field, shapes ``(n, bins)`` and ``(m, bins)``.
    rng
        Random numbers of bootstrap and halvings.
    statistic
        Of rows, compared in place of their mean: ``(n, columns)`` to ``(bins,)``.
    groups
        Which simulation each field is from, of the generated and of the reference.
    resamplings, halvings
        Of bootstrap and floor.

    Returns
    -------
    A `Ratio`, value and floor at one n; NaN in bins where the reference has mean 0.

    Raises
    ------
    InputError
        There are fewer than two simulations on a side, or groups of another number than fields.
    """
    samples = zip((generated, reference), groups, ("generated", "reference"))
    gen, ref = (
        _Sums(*s) if statistic is None else _Statistic(*s, statistic=statistic) for s in samples
    )
    drawn = [_resampled(s, rng, resamplings) for s in (gen, ref)]
    means = [s.mean(np.ones(len(s.size))) for s in (gen, ref)]
    simulations = (len(gen.size), len(ref.size))
    half = simulations[1] // 2
    first = np.argsort(rng.random((halvings, simulations[1])), 1) < half
    floors = np.abs(_ratio(ref.mean(first), ref.mean(~first)) - 1)
    n = (len(generated), len(reference))
    scale = same_n((n[0], simulations[0]), (n[1], simulations[1]), (half, simulations[1] - half))
    # a resampling may miss all that a rare bin holds: its ratio is not one of the distribution
    return Ratio(
        ratio=_ratio(*means),
        error=_spread(_ratio(*drawn)),
        floor=scale * _average(floors),
        floor_error=scale * _spread(floors) / math.sqrt(halvings),
        generated=means[0],
        generated_error=_spread(drawn[0]),
        reference=means[1],
        reference_error=_spread(drawn[1]),
        n=n,
        simulations=simulations,
    )


def _ratio(a: Array, b: Array) -> Array:
    return np.divide(a, b, out=np.full_like(a, np.nan), where=b != 0)


def _average(values: Array) -> Array:
    """Return the mean of each column over the rows in which it is a number; NaN without any."""
    known = np.isfinite(values)
    n = known.sum(0)
    return np.where(n > 0, np.where(known, values, 0).sum(0) / np.maximum(n, 1), np.nan)


def _spread(values: Array) -> Array:
    """Return the standard deviation of each column over these rows; NaN where there is one."""
    squares = np.where(np.isfinite(values), values - _average(values), np.nan) ** 2
    return np.where(np.isfinite(values).sum(0) > 1, np.sqrt(_average(squares)), np.nan)


class _Members:
    """Rows by the simulation that they are from."""

    def __init__(self, values: npt.NDArray[Any], groups: Groups, what: str) -> None:
        sums = _Sums(np.zeros((len(values), 0)), groups, what)
        self.values = values
        self.order = np.argsort(sums.index, kind="stable")
        self.ends = np.concatenate([[0], np.cumsum(sums.size).astype(int)])
        self.alone = len(self) == len(values)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def rows(self, simulations: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self.alone:
            return np.asarray(self.values[self.order[simulations]])
        places = [self.order[self.ends[s] : self.ends[s + 1]] for s in simulations]
        return self.values[np.concatenate(places)]


def _as_many(groups: Groups, n: int, reference: _Members, rng: np.random.Generator) -> Groups:
    """Return groups of generated samples as large as a simulation of the reference.

    Equally many groups of both are compared; samples that are each their own would be too few
    beside simulations of many.
    """
    each = len(reference.values) // len(reference)
    alone = groups is None or len(np.unique(groups)) == n
    return rng.permutation(n) // max(1, min(each, n // 2)) if alone and each > 1 else groups


def measure_difference(
    function: Callable[[npt.NDArray[Any], npt.NDArray[Any]], float],
    generated: npt.NDArray[Any],
    reference: npt.NDArray[Any],
    rng: np.random.Generator,
    *,
    groups: tuple[Groups, Groups] = (None, None),
    paired: bool = False,
    resamplings: int = 100,
    halvings: int = 20,
) -> Measurement:
    """Measure one difference of two samples of rows: `measure_differences` of a single number."""
    return measure_differences(
        lambda a, b: np.array([function(a, b)]), generated, reference, rng,
        groups=groups, paired=paired, resamplings=resamplings, halvings=halvings,
    )[0]  # fmt: skip


def measure_differences(
    function: Callable[[npt.NDArray[Any], npt.NDArray[Any]], Array],
    generated: npt.NDArray[Any],
    reference: npt.NDArray[Any],
    rng: np.random.Generator,
    *,
    groups: tuple[Groups, Groups] = (None, None),
    paired: bool = False,
    resamplings: int = 100,
    halvings: int = 20,
) -> list[Measurement]:
    """Measure any differences of two samples of rows, with error and floor at equal numbers.

    Differences of noisy things shrink with the number of fields.  So the value, like the floor, is
    of as many simulations as half the reference has: the generated (as many of them, drawn at
    random) against one half of the reference, the floor the other half against it; both are means
    over the same halvings.

    Parameters
    ----------
    function
        Of two arrays of rows: ``(differences,)`` numbers, e.g. one
        `emulators.observables.spectra.off_diagonal_difference`.
    generated, reference
        The statistic of every field, shapes ``(n, bins)`` and ``(m, bins)``.
    rng, groups, halvings
        As in `compare`.
    paired
        Whether sample i of one and sample i of the other were asked for alike, each its own
        simulation: then the partners of the other half are taken, and value and floor do not differ
        by what was asked for.
    resamplings
        Of the bootstrap.  A resampling holds simulations twice and differs more than a new sample
        does: only the spread of its values is used.

    Returns
    -------
    One a difference.  ``error`` is that of the value, a mean over halvings that uses all
    simulations: the spread of resamplings of m simulations times ``sqrt(m (1 / S_generated + 1 /
    S_reference) / 2)``, which is what value less floor scatters by between samples of one law.
    ``floor_error`` is the standard error of the mean over halvings, ``n`` the number of fields in a
    half.
    """
    ref = _Members(reference, groups[1], "reference")
    gen = _Members(generated, _as_many(groups[0], len(generated), ref, rng), "generated")
    m = min(len(gen), len(ref) // 2)
    values, floors = [], []
    for _ in range(halvings):
        order = rng.permutation(len(ref))
        first, second = ref.rows(order[:m]), ref.rows(order[m : 2 * m])
        partners = order[m : 2 * m] if paired else rng.permutation(len(gen))[:m]
        values.append(function(gen.rows(partners), first))
        floors.append(function(second, first))
    spread = [
        function(*(s.rows(rng.integers(0, len(s), m)) for s in (gen, ref)))
        for _ in range(resamplings)
    ]
    whole = m * (1 / len(gen) + 1 / len(ref)) / 2
    errors = np.std(spread, 0) * math.sqrt(whole)
    floor_errors = np.std(floors, 0) / math.sqrt(halvings)
    table = np.stack([np.mean(values, 0), errors, np.mean(floors, 0), floor_errors], 1)
    return [Measurement(v, e, f, s, len(first)) for v, e, f, s in table.tolist()]
