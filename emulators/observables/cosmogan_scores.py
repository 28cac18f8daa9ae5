"""Scores in the manner of 3DcosmoGAN (Perraudin et al. 2019, arXiv:1908.05519).

A score is ``1 / FD``, larger for better, with FD the squared Frechet distance between Gaussians
fitted to ``log10(s / max(mean reference s) + 1e-5)`` of each field, ``s`` its power spectrum,
histogram of mass or histogram of peaks, in the bins of that paper's code.

Compatible, not identical: modes have their Hermitian weights and peaks their periodic neighbours,
which the original leaves out.  Scores are comparable only at equal grids and equal numbers of
fields: FD is biased upwards at small numbers, and with as many bins as fields or more its
covariances are singular, as with the 30 cubes of the original.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from emulators.errors import InputError
from emulators.observables.fields import binned, one_point
from emulators.observables.spectra import power_spectra, wavenumbers

__all__ = ["CosmoGANScore", "cosmogan_scores", "frechet_distance"]

Array = npt.NDArray[np.float64]
LARGEST = 250884  # counts in a cell of their data: it sets the bins
MASS_EDGES = 10 ** np.linspace(np.log10(2), np.log10(LARGEST / 3), 21) - 1
PEAK_EDGES = np.exp(np.linspace(1.5, 13, 21)) - np.e
NEIGHBOURHOOD = 5  # cells


@dataclass(frozen=True)
class CosmoGANScore:
    """One score.

    Parameters
    ----------
    score, distance
        ``1 / FD`` (infinite for equal samples), and FD.
    dimensions, n
        Numbers compared for each field, and fields on the smaller side.
    singular
        True where ``n`` is not larger than ``dimensions``: the covariances are singular, and the
        score says little.
    """

    score: float
    distance: float
    dimensions: int
    n: int
    singular: bool


def cosmogan_scores(
    generated: npt.NDArray[Any],
    reference: npt.NDArray[Any],
    lengths: Sequence[float],
    periodic: Sequence[bool],
) -> dict[str, CosmoGANScore]:
    """Return the scores ``power``, ``mass`` and ``peaks`` of fields of counts ``(n, *cells)``."""
    if min(len(generated), len(reference)) < 2:
        raise InputError("scores need two or more fields, generated and of the reference")
    statistics = [
        {
            "power": _power(f, lengths),
            "mass": one_point(f, MASS_EDGES),
            "peaks": _peaks(f, periodic),
        }
        for f in (generated, reference)
    ]
    found = {}
    for name in statistics[0]:
        gen, ref = (s[name] for s in statistics)
        top = ref.mean(0).max() or 1.0
        logs = [np.log10(s / top + 1e-5) for s in (gen, ref)]
        value = frechet_distance(*logs)
        n = min(len(gen), len(ref))
        score = 1 / value if value > 0 else np.inf
        found[name] = CosmoGANScore(score, value, gen.shape[1], n, n <= gen.shape[1])
    return found


def frechet_distance(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Return the squared Frechet distance of Gaussians fitted to rows ``(n, d)`` and ``(m, d)``.

    ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^0.5)``; with ``C = A^T A`` the trace of the root is the
    sum of the singular values of ``A1 A2^T``, real and stable also where ``C`` is singular.
    """
    roots = [_root(rows) for rows in (first, second)]
    mean = first.mean(0) - second.mean(0)
    traces = sum(float((root**2).sum()) for root in roots)
    cross = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    return max(float(mean @ mean + traces - 2 * cross), 0.0)


def _root(rows: npt.NDArray[Any]) -> Array:
    """Return a small ``A`` with ``A^T A`` the covariance of the rows."""
    centred = (rows - rows.mean(0)) / np.sqrt(len(rows) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r"), np.float64)


def _power(fields: npt.NDArray[Any], lengths: Sequence[float]) -> Array:
    """Return ``P(k)`` of each field over its own mean, in up to 49 bins to the corner."""
    k, _ = wavenumbers(fields.shape[1:], lengths)
    edges = np.geomspace(k[k > 0].min() * (1 - 1e-9), k.max() * (1 + 1e-9), 50)
    # an edge below a bin without modes is left out: the modes of the other bins stay the same
    filled = np.histogram(k, edges)[0] > 0
    edges = edges[np.append(filled, True)]
    means = fields.mean(tuple(range(1, fields.ndim)), dtype=np.float64, keepdims=True)
    overdensity = fields / np.where(means > 0, means, 1.0).astype(np.float32) - 1
    return power_spectra(overdensity, lengths, edges).power


def _peaks(fields: npt.NDArray[Any], periodic: Sequence[bool]) -> Array:
    """Count the cells that are the highest of 5^d, on no plateau that fills it, by height."""
    modes = ["wrap" if p else "reflect" for p in periodic]
    rows = []
    for field in fields:
        highest = ndimage.maximum_filter(field, NEIGHBOURHOOD, mode=modes)
        lowest = ndimage.minimum_filter(field, NEIGHBOURHOOD, mode=modes)
        rows.append(binned(field[(field == highest) & (highest > lowest)][None], PEAK_EDGES)[0])
    return np.stack(rows)
