"""Regression on polynomials of the conditions, of as high a degree as the data can decide."""

import itertools
import math

import torch
from torch import Tensor

__all__ = ["affordable", "features", "log_mean", "n_features", "regress"]

FIELDS_A_TERM = 16  # of a polynomial: with fewer its corners are noise


def features(c: Tensor) -> Tensor:
    """Return the terms of a polynomial in the conditions: ``(n, k)`` to ``(n, f)``, 1 first.

    It is cubic in one or two conditions, and quadratic in more.
    """
    terms = [c.new_ones(len(c))]
    for degree in range(1, _degree(c.shape[1]) + 1):
        for chosen in itertools.combinations_with_replacement(range(c.shape[1]), degree):
            terms.append(math.prod((c[:, i] for i in chosen), start=terms[0]))
    return torch.stack(terms, 1)


def n_features(conditions: int) -> int:
    """Return how many `features` there are of so many conditions."""
    return math.comb(conditions + _degree(conditions), conditions)


def _degree(conditions: int) -> int:
    return 3 if conditions <= 2 else 2


def affordable(fields: int, conditions: int) -> int:
    """Return how many of the `features` so many fields can decide."""
    degrees = range(_degree(conditions) + 1)
    terms = [math.comb(conditions + degree, conditions) for degree in degrees]
    return max([t for t in terms if t * FIELDS_A_TERM <= fields], default=1)


def regress(design: Tensor, target: Tensor) -> Tensor:
    """Return the least-squares coefficients ``(f, m)`` of ``target (n, m)`` on ``design (n, f)``.

    A faint ridge decides what the data leave open, as when all samples have the same conditions.
    """
    design, target = design.double(), target.double()
    normal = design.T @ design
    normal.diagonal().add_(1e-6 * normal.diagonal().mean() + 1e-12)
    found: Tensor = torch.linalg.solve(normal, design.T @ target)
    return found


def log_mean(values: Tensor, c: Tensor) -> Tensor:
    """Return the logarithm of the mean of positive ``values (n, m)`` as polynomials ``(f, m)``.

    A gamma law with logarithmic link, whose weights are constant.  No value is cut off: of heavy
    tails the mean would be too small.
    """
    terms = affordable(len(c), c.shape[1])
    design, values = features(c.double())[:, :terms].cpu(), values.double().cpu()
    beta = torch.zeros(n_features(c.shape[1]), values.shape[1], dtype=torch.float64)
    beta[0] = values.mean(0).log()
    for _ in range(15):
        eta = design @ beta[:terms]
        beta[:terms] = regress(design, eta + values / eta.exp() - 1)
    return beta
