"""Precision, recall, density and coverage of two samples, by balls around their rows.

They are those of the package `prdc`.  All depend on n: read them beside their floor.

References
----------
Precision and recall: Kynkaanniemi et al., arXiv:1904.06991.  Density and coverage: Naeem et al.,
arXiv:2002.09797.
"""

import numpy.typing as npt
import torch

from emulators.errors import InputError
from emulators.observables.features import two_samples

__all__ = ["prdc"]

_ENTRIES = 1 << 22  # of a block of a matrix of all pairs
_COLUMNS = 1 << 10  # of it that are made at once, where rows are wide
_EQUAL = 2e-13  # squared distance over squared length that double precision cannot tell from none


def prdc(reference: npt.ArrayLike, generated: npt.ArrayLike, k: int = 5) -> dict[str, float]:
    """Return precision, recall, density and coverage of two samples.

    The ball of a sample reaches to its ``k``-th nearest neighbour in its own set, its border left
    out.

    Parameters
    ----------
    reference, generated
        Shapes ``(n, features)`` and ``(m, features)``, of features whose Euclidean distance means
        something.
    k
        Which neighbour.

    Returns
    -------
    ``precision``
        Share of the generated samples that lie in the ball of a reference sample.
    ``recall``
        Share of the reference samples that lie in the ball of a generated sample.
    ``density``
        In how many balls of reference samples a generated one lies on average, over ``k``.  1 for
        two samples of one distribution; it can be larger.
    ``coverage``
        Share of the reference samples whose ball holds a generated one.  About 1 - 2^-k for two
        equally large samples of one distribution.

    Raises
    ------
    InputError
        The arrays are not two samples of the same features, hold NaN, or have no ``k`` neighbours.
    """
    found = two_samples(reference, generated)
    if not 1 <= k < min(len(x) for x in found):
        raise InputError(
            f"{k} nearest neighbours among {len(found[0])} reference and {len(found[1])} generated "
            "samples: each sample needs 1 neighbour or more, and more samples than neighbours"
        )
    centre = found[0].mean(0)  # lengths far above the distances would cost digits
    ref, gen = (torch.from_numpy(x - centre) for x in found)
    radii, generated_radii = _radii(ref, k), _radii(gen, k)
    precise = torch.zeros(len(gen), dtype=torch.bool)
    recalled = covered = inside = 0
    rows = max(1, _ENTRIES // len(gen))
    for first in range(0, len(ref), rows):
        squares = _squares(ref[first : first + rows], gen)
        within = squares < radii[first : first + rows, None]
        precise |= within.any(0)
        inside += int(within.count_nonzero())
        covered += int(within.any(1).count_nonzero())
        recalled += int((squares < generated_radii).any(1).count_nonzero())
    return {
        "precision": int(precise.count_nonzero()) / len(gen),
        "recall": recalled / len(ref),
        "density": inside / (k * len(gen)),
        "coverage": covered / len(ref),
    }


def _radii(sample: torch.Tensor, k: int) -> torch.Tensor:
    """Return the squared distance of each sample to its k-th neighbour; the nearest is itself."""
    rows = max(1, _ENTRIES // len(sample))
    nearest = [
        _squares(sample[i : i + rows], sample).topk(k + 1, 1, largest=False).values.amax(1)
        for i in range(0, len(sample), rows)
    ]
    radii = torch.cat(nearest)
    # nothing lies in the ball of a sample that equals its k nearest
    radii[radii <= _EQUAL * (sample.double() ** 2).sum(1)] = -torch.inf
    return radii


def _squares(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return squared distances of all pairs, ``(len(a), len(b))`` in single precision.

    From scalar products in double precision: rounded to single, what is equally far is so again.
    """
    found = torch.empty(len(a), len(b))
    left = a.double()
    left = torch.cat([-2 * left, (left**2).sum(1, keepdim=True), torch.ones(len(a), 1)], 1)
    for first in range(0, len(b), _COLUMNS):
        right = b[first : first + _COLUMNS].double()
        ends = torch.ones(len(right), 1), (right**2).sum(1, keepdim=True)
        found[:, first : first + _COLUMNS] = left @ torch.cat([right, *ends], 1).T
    return found
