"""Regression on polynomials of the conditions, of as high a degree as the data can decide."""

import itertools
import math

import torch
from torch import Tensor

__all__ = ["averaged", "decided", "degree", "features", "log_mean", "n_features", "regress"]

WORTH = 0.1  # what a higher degree must take off the logarithm of the mean square error


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


def averaged(
    rows: Tensor, c: Tensor, simulations: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Average rows over the samples of each simulation at each condition.

    Slabs of one box differ from each other, and all alike from other boxes: what boxes scatter by
    is known from their number alone.

    Parameters
    ----------
    rows
        Numbers of the samples, ``(n, m)``.
    c
        Scaled conditions ``(n, k)``.
    simulations
        The number of the simulation of each sample, ``(n,)``; None: each has its own.

    Returns
    -------
    The averages ``(s, m)``, their conditions ``(s, k)`` and simulations ``(s,)``, double precision.
    """
    rows, c = rows.double(), c.double()
    if simulations is None:
        return rows, c, torch.arange(len(rows), device=rows.device)
    keys = torch.cat([simulations[:, None].double(), c], 1)
    kinds, which, counts = torch.unique(keys, dim=0, return_inverse=True, return_counts=True)
    means = rows.new_zeros(len(kinds), rows.shape[1]).index_add_(0, which, rows)
    return means / counts[:, None], kinds[:, 1:], kinds[:, 0]


def decided(target: Tensor, c: Tensor, simulations: Tensor) -> int:
    """Return how many of the `features` the data decide: those of the best degree.

    The degree is the lowest one that foretells a simulation left out about as well as any does
    (Allen, Technometrics 16, 1974); a higher one would fit the scatter of the simulations.

    Parameters
    ----------
    target
        What is regressed, ``(s, m)``, as `averaged` gives it; all columns count alike.
    c, simulations
        Conditions ``(s, k)`` and simulations ``(s,)`` of the rows.
    """
    design, conditions = features(c), c.shape[1]
    terms = [math.comb(conditions + d, conditions) for d in range(_degree(conditions) + 1)]
    _, which, counts = torch.unique(simulations, return_inverse=True, return_counts=True)
    best, least = 1, math.inf
    for t in terms:
        if t >= len(counts):
            break
        left, strength, _ = torch.linalg.svd(design[:, :t], full_matrices=False)
        basis = left[:, strength > 1e-6 * strength[0]]  # equal conditions leave fewer directions
        rest = target - basis @ (basis.T @ target)
        if len(counts) == len(target):
            rest = rest / (1 - basis.square().sum(1, keepdim=True)).clamp_min(1e-6)
        else:
            for k in range(len(counts)):  # all rows of a simulation are left out together
                rows = (which == k).nonzero()[:, 0]
                hat = basis[rows] @ basis[rows].T
                kept = torch.eye(len(rows), dtype=hat.dtype, device=hat.device) - hat
                rest[rows] = torch.linalg.lstsq(kept, rest[rows]).solution
        error = float(rest.square().mean(0).clamp_min(1e-30).log().mean())
        if error < least - WORTH:
            best, least = t, error
    return best


def regress(design: Tensor, target: Tensor) -> Tensor:
    """Return the least-squares coefficients ``(f, m)`` of ``target (n, m)`` on ``design (n, f)``.

    A faint ridge decides what the data leave open, as when all samples have the same conditions.
    """
    design, target = design.double(), target.double()
    normal = design.T @ design
    normal.diagonal().add_(1e-6 * normal.diagonal().mean() + 1e-12)
    found: Tensor = torch.linalg.solve(normal, design.T @ target)
    return found


def log_mean(values: Tensor, c: Tensor, simulations: Tensor | None = None) -> Tensor:
    """Return the logarithm of the mean of positive ``values (n, m)`` as polynomials ``(f, m)``.

    A gamma law with logarithmic link.  No value is cut off: of heavy tails the mean would be too
    small.  Each step is Newton's where a value is above its mean and Fisher's where it is below,
    and so never too long.
    """
    means, c, numbers = (t.cpu() for t in averaged(values, c, simulations))
    terms = decided(means.log(), c, numbers)
    design = features(c)[:, :terms]
    beta = torch.zeros(n_features(c.shape[1]), means.shape[1], dtype=torch.float64)
    beta[0] = means.mean(0).log()
    for _ in range(30):
        ratio = means / (design @ beta[:terms]).exp()
        normal = torch.einsum("nf,nm,ng->mfg", design, ratio.clamp_min(1), design)
        normal.diagonal(dim1=1, dim2=2).add_(1e-6 * len(design))
        beta[:terms] += torch.linalg.solve(normal, (design.T @ (ratio - 1)).T).T
    return beta


def degree(coefficients: Tensor, conditions: int) -> int:
    """Return the degree of polynomials ``(f, m)`` in so many conditions."""
    terms = int((coefficients != 0).any(1).sum())
    return next(d for d in itertools.count() if math.comb(conditions + d, conditions) >= terms)
