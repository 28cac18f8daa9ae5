"""Fields at unequal conditions: statistics brought to equal ones, and how they follow them.

Cosmologies differ far more than an emulator may: a mean over cosmologies has the scatter of the
cosmologies.  So the dependence of a statistic on the conditions is fitted on the reference and
taken out of both samples alike.  Where both have the same conditions this changes no mean, and
errors and floors become those at fixed conditions; what is left is the emulator's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.observables.resampling import same_n

__all__ = ["KNOWN", "Levelling", "Response", "condition_groups", "response"]

Array = npt.NDArray[np.float64]
Groups = npt.NDArray[Any]
DISTINCT = 6  # up to so many different sets of conditions are compared one by one
KNOWN = 5.0  # standard errors that a reference's number must be away from 0 to be divided by
PARTS = 3  # else so many ranges of each condition


class Levelling:
    """Takes the dependence on conditions, as the reference has it, out of rows of numbers.

    A polynomial of second order in the conditions; of first order where there are fewer than ten
    simulations a term, since it goes astray at conditions beyond those of few; and none where they
    do not vary, or with fewer than three.

    Parameters
    ----------
    generated, reference
        Their conditions, shapes ``(n, c)`` and ``(m, c)``.
    simulations
        How many independent simulations the reference holds.
    """

    def __init__(self, generated: Array, reference: Array, simulations: int) -> None:
        spread = reference.std(0)
        varies = spread > 1e-6 * np.abs(reference).max(0, initial=0)
        centre, spread = reference[:, varies].mean(0), spread[varies]
        scaled = [(c[:, varies] - centre) / spread for c in (generated, reference)]
        c = int(varies.sum())
        terms = list(scaled)
        if simulations >= 10 * (1 + c + c * (c + 1) // 2):
            terms = [
                np.concatenate([x, *(x[:, i:] * x[:, i : i + 1] for i in range(c))], 1)
                for x in scaled
            ]
        elif simulations < 3 * (1 + c):
            terms = [x[:, :0] for x in scaled]
        mean = terms[1].mean(0)
        self.generated, self.reference = (t - mean for t in terms)

    def differences(self, generated: Array, reference: Array) -> tuple[Array, Array]:
        """Subtract the dependence from rows ``(n, bins)`` and ``(m, bins)``."""
        slopes = np.linalg.lstsq(self.reference, reference - reference.mean(0), rcond=None)[0]
        return generated - self.generated @ slopes, reference - self.reference @ slopes

    def ratios(self, generated: Array, reference: Array) -> tuple[Array, Array]:
        """Divide the dependence out of positive rows: fitted in the logarithm."""
        logs = np.log(np.maximum(reference, np.finfo(np.float64).tiny))
        slopes = np.linalg.lstsq(self.reference, logs - logs.mean(0), rcond=None)[0]
        return (
            generated / np.exp(self.generated @ slopes),
            reference / np.exp(self.reference @ slopes),
        )


def condition_groups(
    names: tuple[str, ...], generated: Array, reference: Array
) -> list[tuple[str, str, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """Return groups of about equal conditions.

    Words, the one condition they go by (or nothing), and which fields of each sample they hold.
    Each set of conditions by itself where there are few, else the thirds of each condition.
    """
    varying = [i for i in range(len(names)) if np.ptp(reference[:, i]) > 0]
    if not varying:
        return []
    rows = reference[:, varying]
    distinct = np.unique(rows, axis=0)
    if len(distinct) <= DISTINCT:
        tolerance = 1e-3 * np.ptp(rows, 0)

        def near(table: Array, point: Array) -> npt.NDArray[np.bool_]:
            return np.asarray((np.abs(table[:, varying] - point) <= tolerance).all(1))

        return [
            (
                ", ".join(f"{names[i]} = {v:.4g}" for i, v in zip(varying, point)),
                "",
                near(generated, point),
                near(reference, point),
            )
            for point in distinct
        ]
    groups = []
    for i in varying:
        edges = np.quantile(reference[:, i], np.linspace(0, 1, PARTS + 1))
        edges = np.unique(edges)
        for low, high in pairwise(edges):
            inside = [
                (t[:, i] >= low) & ((t[:, i] < high) | (high == edges[-1]) & (t[:, i] == high))
                for t in (generated, reference)
            ]
            groups.append(
                (f"{names[i]} from {low:.4g} to {high:.4g}", names[i], inside[0], inside[1])
            )
    return groups


@dataclass(frozen=True)
class Response:
    """Derivatives of the logarithm of a statistic with respect to each condition.

    Arrays have shape ``(c, bins)``, in the inverse unit of the condition, or ``(c,)``.

    Parameters
    ----------
    generated, generated_error, reference, reference_error
        Slopes of a linear regression on all conditions at once; their standard deviations over
        bootstrap resamplings of simulations.
    through_zero
        Whether the reference's slopes have both signs, of each condition: then they are compared by
        differences in units of the largest, and not by ratios.
    floor
        Mean size of the deviation without any difference, at its n: that of the slopes of two
        halves of the reference, brought to that n.
    judged
        Which bins are compared: where by ratios, those whose slope is five errors from 0.
    mean, mean_error, mean_floor
        Of the deviations over the bins that are judged, positive for a response that is too strong;
        its standard deviation over the same resamplings, and its size without any difference; NaN
        where no bin is judged.
    """

    generated: Array
    generated_error: Array
    reference: Array
    reference_error: Array
    through_zero: npt.NDArray[np.bool_]
    floor: Array
    judged: npt.NDArray[np.bool_]
    mean: Array
    mean_error: Array
    mean_floor: Array

    @property
    def deviation(self) -> Array:
        """Generated less reference, over the reference or its largest."""
        return (self.generated - self.reference) / _units(self.reference, self.through_zero)

    @property
    def error(self) -> Array:
        """Standard deviation of the deviation."""
        ratio = np.where(self.through_zero[:, None], 1, 1 + self.deviation)
        size = np.hypot(self.generated_error, self.reference_error * ratio)
        return np.asarray(size / np.abs(_units(self.reference, self.through_zero)))


def _units(slopes: Array, through_zero: npt.NDArray[np.bool_]) -> Array:
    """Return what deviations of slopes ``(c, bins)`` are in units of."""
    largest = np.abs(slopes).max(1, keepdims=True)
    return np.where(through_zero[:, None], largest, slopes)


def response(
    generated: tuple[Array, Array, Groups],
    reference: tuple[Array, Array, Groups],
    rng: np.random.Generator,
    resamplings: int = 200,
    halvings: int = 20,
) -> Response | None:
    """Measure how positive statistics follow the conditions.

    Parameters
    ----------
    generated, reference
        Statistics ``(n, bins)``, conditions that all vary ``(n, c)``, simulations ``(n,)``.
    rng, resamplings, halvings
        Of bootstrap and floor.

    Returns
    -------
    None where a sample has fewer than three simulations for each parameter of the regression.
    """
    centre, scale = reference[1].mean(0), reference[1].std(0)
    gen, ref = (_slopes(v, (c - centre) / scale, g) for v, c, g in (generated, reference))
    if min(gen[1], ref[1]) < 3 * (1 + len(scale)):
        return None
    whole, resampled = [], []
    for slopes, n in (gen, ref):
        whole.append(slopes(np.ones((1, n)))[0])
        resampled.append(slopes(rng.multinomial(n, np.full(n, 1 / n), resamplings)))
    half = ref[1] // 2
    first = np.argsort(rng.random((halvings, ref[1])), 1) < half
    scale_n = same_n(
        (len(generated[0]), gen[1]), (len(reference[0]), ref[1]), (half, ref[1] - half)
    )
    halves = scale_n * (ref[0](first) - ref[0](~first))
    errors = [r.std(0) for r in resampled]
    known = np.abs(whole[1]) > KNOWN * errors[1]
    through_zero = (known & (whole[1] > 0)).any(1) & (known & (whole[1] < 0)).any(1)
    judged = known | through_zero[:, None]
    units = _units(whole[1], through_zero)
    # one number a condition, as bins are correlated; of a slope below zero more is lower
    signs = np.where(through_zero[:, None], np.sign(whole[1]), 1)
    weights = judged * signs / units / np.where(judged.any(1), judged.sum(1), np.nan)[:, None]
    sums = [(r * weights).sum(2) for r in resampled]
    spread = np.where(through_zero, (sums[0] - sums[1]).std(0), (sums[0] / sums[1]).std(0))
    unit = scale[:, None]
    return Response(
        generated=whole[0] / unit,
        generated_error=errors[0] / unit,
        reference=whole[1] / unit,
        reference_error=errors[1] / unit,
        through_zero=through_zero,
        floor=np.abs(halves).mean(0) / np.abs(units),
        judged=judged,
        mean=((whole[0] - whole[1]) * weights).sum(1),
        mean_error=spread,
        mean_floor=np.abs((halves * weights).sum(2)).mean(0),
    )


def _slopes(
    values: Array, conditions: Array, groups: Groups
) -> tuple[Callable[[npt.NDArray[Any]], Array], int]:
    """Return what regresses with groups weighted ``(r, groups)``, and how many groups there are."""
    x = np.concatenate([np.ones((len(conditions), 1)), conditions], 1)
    y = np.log(np.maximum(values, np.finfo(np.float64).tiny))
    names, index = np.unique(groups, return_inverse=True)
    squares = np.zeros((len(names), x.shape[1], x.shape[1]))
    products = np.zeros((len(names), x.shape[1], y.shape[1]))
    np.add.at(squares, index, x[:, :, None] * x[:, None])
    np.add.at(products, index, x[:, :, None] * y[:, None])

    def slopes(weights: npt.NDArray[Any]) -> Array:
        left = np.einsum("rg,gpq->rpq", weights, squares, optimize=True)
        right = np.einsum("rg,gpb->rpb", weights, products, optimize=True)
        return np.asarray((np.linalg.pinv(left, hermitian=True) @ right)[:, 1:])

    return slopes, len(names)
