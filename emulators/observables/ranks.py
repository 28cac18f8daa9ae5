"""Spearman's rank correlations, of many resamplings of the same rows.

Not Pearson's: observables cover decades and have long tails, so that few samples would rule
Pearson's coefficients and their errors.  Ranks are also those of any logarithm.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.observables.spectra import correlation_matrix

__all__ = ["dense_ranks", "rank_correlations"]

Array = npt.NDArray[np.float64]


def dense_ranks(rows: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return for each number of rows ``(n, k)`` how many distinct smaller ones its column has.

    What `rank_correlations` takes: sorted once, for every subset and resampling.
    """
    columns = np.asarray(rows, np.float64).T
    return np.stack([np.unique(c, return_inverse=True)[1] for c in columns], 1).astype(np.int32)


def rank_correlations(dense: npt.NDArray[Any]) -> Array:
    """Return Spearman's correlation matrix ``(k, k)`` of `dense_ranks`, or some of their rows.

    Equal values have their mean rank; a constant column has no correlation with any.
    """
    ranks = np.empty(dense.shape)
    for column, out in zip(dense.T, ranks.T):
        counts = np.bincount(column)
        out[:] = (np.cumsum(counts) - counts / 2)[column]
    return correlation_matrix(ranks)
