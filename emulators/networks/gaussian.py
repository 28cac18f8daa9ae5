"""Where the `field` network starts: a Gaussian field, mapped cell by cell to the data's values.

Both parts depend on the conditions through a polynomial.  What is fitted are the
one-point distribution and the power spectrum of the Gaussianised field (Weinberg 1992, MNRAS 254,
315): a Gaussian field of that spectrum, mapped back, has the one-point distribution of the data and
nearly its spectrum, and nothing else of it.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.linalg import solveh_banded
from torch import Tensor, nn

from emulators.data.spec import SampleSpec

__all__ = [
    "OnePoint",
    "Spectrum",
    "evaluated",
    "features",
    "n_features",
    "regress",
    "shell_means",
    "shells",
    "taper",
]

LEVELS = 128  # values at which the one-point distribution is tabulated
SMOOTHNESS = 1e4  # of the polynomials from level to level: a prior, in cells
ENDS = 8  # levels whose mean slope goes on beyond them
SLOWEST = 0.005  # the least that a normal number changes from level to level
REACH, STEP = (-6.0, 6.5), 0.01  # the normal numbers at which the map is tabulated for evaluation
FIELDS_A_TERM = 16  # of a polynomial: with fewer its corners are noise
KNOTS = 33  # wave numbers at which the spectrum is tabulated
CHUNK = 1 << 24  # cells worked on at once


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


def _affordable(fields: int, conditions: int) -> int:
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


class OnePoint(nn.Module):
    """The map between standard normal numbers and values whose distribution follows the data's.

    The cumulative distribution at `LEVELS` values is ``Phi(polynomial of the conditions)``: a
    probit regression on how many cells lie below.  Between the values the map is linear, beyond
    them it goes on with the mean slope of the last `ENDS`, but not above the largest value that was
    fitted to: where values are logarithms, a few cells would have most of a map's power.
    """

    values: Tensor
    largest: Tensor
    coefficients: Tensor

    def __init__(self, channels: int, conditions: int) -> None:
        super().__init__()
        start = torch.linspace(-4, 4, LEVELS).expand(channels, -1)
        self.register_buffer("values", start.clone())
        self.register_buffer("largest", torch.full((channels, 1), 1e30))
        coefficients = torch.zeros(channels, n_features(conditions), LEVELS)
        coefficients[:, 0] = start
        self.register_buffer("coefficients", coefficients)

    @torch.no_grad()
    def fit(self, x: Tensor, c: Tensor) -> None:
        """Fit to fields ``(n, channels, *cells)`` at scaled conditions ``(n, k)``.

        Of few fields the polynomials have a lower degree.
        """
        terms = _affordable(len(c), c.shape[1])
        design = features(c.double())[:, :terms].cpu()  # the regression itself is small
        self.coefficients.zero_()
        for channel, field in enumerate(x.flatten(2).unbind(1)):
            values = _levels(field)
            chunk = max(1, CHUNK // field.shape[1])
            below = torch.cat([_below(rows, values) for rows in torch.split(field, chunk)]).cpu()
            self.values[channel], self.largest[channel] = values, field.max()
            beta = _probit(design, below / field.shape[1], field.shape[1])
            self.coefficients[channel, :terms] = beta.to(self.coefficients)

    def table(self, c: Tensor) -> Tensor:
        """Return the normal numbers ``(n, channels, LEVELS)`` that map to `values`, increasing."""
        y = torch.einsum("nf,cfl->ncl", features(c.float()), self.coefficients)
        ramp = SLOWEST * torch.arange(LEVELS, device=c.device)
        return (y - ramp).cummax(2).values + ramp

    def grid(self, c: Tensor) -> Tensor:
        """Return the normal numbers at which maps are tabulated, ``(n, channels, places)``."""
        at = torch.arange(REACH[0], REACH[1] + STEP / 2, STEP, device=c.device)
        return at.expand(len(c), len(self.values), -1).contiguous()

    def forward(self, y: Tensor, c: Tensor) -> Tensor:
        """Map normal numbers ``(n, channels, places)`` to values; see `evaluated` for fields."""
        table = self.table(c)
        return _interpolate(y, table, self.values.expand_as(table)).minimum(self.largest)

    def inverse(self, x: Tensor, c: Tensor) -> Tensor:
        """Map values ``(n, channels, *cells)`` to normal numbers."""
        table = self.table(c)
        values = self.values.expand_as(table).contiguous()
        pieces = torch.split(x.flatten(2), max(1, CHUNK // (len(x) * x.shape[1])), 2)
        return torch.cat([_interpolate(some, values, table) for some in pieces], 2).view_as(x)


def _levels(field: Tensor) -> Tensor:
    """Return values at even steps of normal quantiles, from the rarest low to the rarest high."""
    flat = field.flatten()
    step = max(1, len(flat) // 4_000_000)
    some = flat[::step].sort().values
    rarest = -torch.special.ndtri(torch.tensor(20.0 / len(some)).clamp_max(0.1).double())
    at = torch.special.ndtr(torch.linspace(-float(rarest), float(rarest), LEVELS).double())
    values = some[(at * (len(some) - 1)).round().long()]
    # where values repeat the levels must still increase
    span = (values[-1] - values[0]).clamp_min(1e-6)
    ramp = 1e-6 * span * torch.arange(LEVELS, device=field.device)
    return (values - ramp).cummax(0).values + ramp


def _below(rows: Tensor, values: Tensor) -> Tensor:
    """Count, in each row, the cells below each of the values."""
    place = torch.searchsorted(values, rows.contiguous(), right=True)
    place += torch.arange(len(rows), device=rows.device)[:, None] * (LEVELS + 1)
    counts = torch.bincount(place.flatten(), minlength=len(rows) * (LEVELS + 1))
    return counts.view(len(rows), -1).cumsum(1)[:, :-1].double()


def _probit(design: Tensor, share: Tensor, cells: int, steps: int = 25) -> Tensor:
    """Return the coefficients ``(f, levels)`` of a probit regression on shares ``(n, levels)``.

    The shares are those of ``cells`` cells.  A penalty on the second difference from level to
    level decides where hardly any cell is rarer.
    """
    f, levels = design.shape[1], share.shape[1]
    beta = torch.zeros(f, levels, dtype=torch.float64)
    beta[0] = torch.special.ndtri(share.mean(0).clamp(1e-9, 1 - 1e-9))
    second = torch.eye(levels, dtype=torch.float64).diff(n=2, dim=0)
    penalty = SMOOTHNESS * second.T @ second
    for _ in range(steps):  # Fisher scoring
        eta = (design @ beta).clamp(-6, 6)
        p = torch.special.ndtr(eta)
        density = torch.exp(-eta.square() / 2) / math.sqrt(2 * math.pi)
        weight = cells * density.square() / (p * (1 - p))
        working = eta + ((share - p) / density).clamp(-3, 3)
        normal = torch.einsum("nf,nm,ng->mfg", design, weight, design)
        normal.diagonal(dim1=1, dim2=2).add_(1e-6 * normal.diagonal(dim1=1, dim2=2).mean())
        right = torch.einsum("nf,nm->mf", design, weight * working)
        before, beta = beta, _solve(normal, penalty, right).T
        if (beta - before).abs().max() < 1e-4:
            break
    return beta


def _solve(blocks: Tensor, penalty: Tensor, right: Tensor) -> Tensor:
    """Solve for ``x (levels, f)``: each level's own ``blocks @ x``, and the penalty between them.

    The penalty reaches two levels far, so that the matrix is a band.
    """
    levels, f = right.shape
    band = np.zeros((3 * f, levels * f))  # row k: k below the diagonal
    for i in range(f):
        for j in range(i + 1):
            band[i - j, j::f] += blocks[:, i, j].numpy()
    for reach in range(3):
        along = penalty.diagonal(-reach).repeat_interleave(f).numpy()
        band[reach * f, : len(along)] += along
    solved = solveh_banded(band, right.flatten().numpy(), lower=True)
    return torch.from_numpy(solved).view(levels, f)


def _interpolate(at: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Return piecewise linear functions ``(n, channels, LEVELS)`` at ``(n, channels, places)``.

    Beyond the ends they go on with the mean slope of the last few levels.
    """
    slopes = values.diff(dim=2) / knots.diff(dim=2)
    first, last = (
        (values[..., b] - values[..., a]) / (knots[..., b] - knots[..., a])
        for a, b in ((0, ENDS), (-1 - ENDS, -1))
    )
    slopes = torch.cat([first[..., None], slopes, last[..., None]], 2)
    place = torch.searchsorted(knots, at.contiguous(), right=True)  # 0 below all, LEVELS above
    left = (place - 1).clamp(0, LEVELS - 1)
    a, b = (t.gather(2, left) for t in (knots, values))
    return b + (at - a) * slopes.gather(2, place)


def evaluated(table: Tensor, y: Tensor) -> Tensor:
    """Evaluate maps that are tabulated on `OnePoint.grid` at ``y (n, channels, *cells)``."""
    pieces = []
    for some in torch.split(y.flatten(2), max(1, CHUNK // (len(y) * y.shape[1])), 2):
        place = (some - REACH[0]) / STEP
        left = place.detach().floor().clamp_(0, table.shape[2] - 2).to(torch.int64)
        step = table.diff(dim=2).gather(2, left)
        pieces.append(table.gather(2, left) + (place - left) * step)
    return torch.cat(pieces, 2).view_as(y)


class Spectrum(nn.Module):
    """The power of a Gaussianised field against wave number, a polynomial of the conditions.

    Power is the variance of a mode over the number of cells, so that it does not depend on the size
    of the box; its logarithm is linear in ``log k`` between `KNOTS` wave numbers.  ``k`` counts
    radians per length of the grid (h/Mpc), or per cell where there is no grid.
    """

    log_k: Tensor
    coefficients: Tensor

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__()
        self.cells = spec.shape[1:]
        lengths = spec.grid.lengths if spec.grid else tuple(map(float, self.cells))
        self.sizes = [length / n for length, n in zip(lengths, self.cells)]
        self.periodic = spec.grid.periodic if spec.grid else (False,) * len(self.cells)
        terms = n_features(len(spec.conditions))
        self.register_buffer("log_k", torch.linspace(-4.0, 1.0, KNOTS))
        self.register_buffer("coefficients", torch.zeros(spec.shape[0], terms, KNOTS))

    @torch.no_grad()
    def fit(self, y: Tensor, c: Tensor, around: "Spectrum | None" = None) -> None:
        """Fit to fields ``(n, channels, *cells)`` at scaled conditions ``(n, k)``.

        Of few fields the polynomial has a lower degree, or differs by one of a lower degree from
        that of another spectrum, of the same knots.
        """
        shell, weight = shells(self.cells, self.sizes)
        modes = torch.bincount(shell, weight)
        k = wave_number(self.cells, self.sizes).flatten() * weight
        log_k = (torch.bincount(shell, k) / modes).log()
        # the mean of the field is the shell of k = 0; it stands for what is well below the first
        log_k[0] = log_k[1] - math.log(4)
        window = taper(self.cells, self.periodic).to(y.device)
        places, share = shell.to(y.device), (weight / modes[shell]).to(y.device)
        dims = tuple(range(2, y.ndim))
        parts = []
        for some in torch.split(y, max(1, CHUNK // y[0].numel())):
            power = torch.fft.rfftn(some.float() * window, dim=dims).abs().square().flatten(2)
            power = power.double() * share / math.prod(self.cells)
            means = power.new_zeros(*power.shape[:2], len(modes)).index_add_(2, places, power)
            parts.append(means.cpu())
        design = features(c.double()).cpu()  # the regression itself is small
        few = design[:, : _affordable(len(c), c.shape[1])]
        knots = torch.linspace(float(log_k[1]), float(log_k[-1]), KNOTS - 1)
        self.log_k.copy_(torch.cat([log_k[:1], knots]))
        left, step = _place(self.log_k.double().cpu(), log_k)
        for channel, power in enumerate(torch.cat(parts).clamp_min(1e-12).unbind(1)):
            offset = torch.zeros_like(power)
            if around is not None:
                at, on = _place(log_k, around.log_k.double().cpu())
                known = around.coefficients[channel].double().cpu()
                offset = design @ (known[:, at] * (1 - on) + known[:, at + 1] * on)
            beta = few.new_zeros(few.shape[1], len(modes))
            beta[0] = (power / offset.exp()).mean(0).log()
            for _ in range(15):  # a gamma law with logarithmic link: its weights are constant
                eta = few @ beta
                beta = regress(few, eta + (power / (eta + offset).exp() - 1).clamp(-2, 5))
            self.coefficients[channel] = 0 if around is None else around.coefficients[channel]
            at_knots = beta[:, left] * (1 - step) + beta[:, left + 1] * step
            self.coefficients[channel, : len(beta)] += at_knots.to(self.coefficients)

    @torch.no_grad()
    def forward(self, white: Tensor, c: Tensor) -> Tensor:
        """Colour white noise ``(n, channels, *cells)`` on a periodic grid, to a variance of 1."""
        field, variance = self.multiplied(white, c)
        return field.div_(variance.sqrt())

    @torch.no_grad()
    def multiplied(self, field: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Multiply the modes of periodic fields by the root of the power.

        Returns
        -------
        The fields ``(n, channels, *cells)``, and the variance that white noise would have then.
        """
        cells, dims = field.shape[2:], tuple(range(2, field.ndim))
        log_power = torch.einsum("nf,cfb->ncb", features(c.float()), self.coefficients)
        modes = torch.fft.rfftn(field.float(), dim=dims)
        total = torch.zeros_like(log_power[..., 0])
        rows = max(1, CHUNK // math.prod(modes.shape[3:]))
        for first in range(0, cells[0], rows):  # a large field is worked on in pieces
            part = slice(first, first + rows)
            k = wave_number(cells, self.sizes, part, field.device)
            left, step = _place(k.log(), self.log_k)
            power = (log_power[..., left] * (1 - step) + log_power[..., left + 1] * step).exp_()
            total += (power * hermitian(cells, field.device)).flatten(2).sum(2)
            modes[:, :, part] *= power.sqrt_()
        variance = (total / math.prod(cells)).view(*total.shape, *[1] * len(cells))
        return torch.fft.irfftn(modes, s=cells, dim=dims), variance


def _place(at: Tensor, knots: Tensor) -> tuple[Tensor, Tensor]:
    """Return which of the increasing knots lie to the left, and how far on to the next, 0 to 1."""
    left = (torch.searchsorted(knots, at.contiguous(), right=True) - 1).clamp_(0, len(knots) - 2)
    step = (at - knots[left]) / (knots[left + 1] - knots[left])
    return left, step.clamp_(0, 1)


def wave_number(
    cells: Sequence[int],
    sizes: Sequence[float],
    part: slice = slice(None),
    device: torch.device | None = None,
) -> Tensor:
    """Return ``|k|`` of the modes that `torch.fft.rfftn` gives, of ``part`` of its first axis.

    ``sizes`` are those of a cell.
    """
    frequencies = [*[torch.fft.fftfreq] * (len(cells) - 1), torch.fft.rfftfreq]
    axes = [
        2 * math.pi * frequency(n, d=size, device=device)
        for frequency, n, size in zip(frequencies, cells, sizes)
    ]
    axes[0] = axes[0][part]
    squares = [
        k.square().view([-1 if a == i else 1 for a in range(len(cells))])
        for i, k in enumerate(axes)
    ]
    total: Tensor = sum(squares[1:], squares[0])
    return total.sqrt()


def hermitian(cells: Sequence[int], device: torch.device | None = None) -> Tensor:
    """Return how many modes of the whole lattice each mode of `torch.fft.rfftn` stands for.

    It broadcasts over all axes but the last.
    """
    last = torch.full((cells[-1] // 2 + 1,), 2.0, device=device)
    last[:1].fill_(1.0)
    if cells[-1] % 2 == 0:
        last[-1:].fill_(1.0)
    return last


def shells(cells: Sequence[int], sizes: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return the shell of each mode that `torch.fft.rfftn` gives, and its weight; both flat.

    Shell 0 is ``k = 0`` alone; then they are one fundamental mode wide, and 10 % of ``k`` where
    that is wider, as far as the corners of the lattice.
    """
    k = wave_number(cells, sizes)
    unit = 2 * math.pi / max(n * size for n, size in zip(cells, sizes))
    edges = [0.5]
    while edges[-1] * unit <= float(k.max()):
        edges.append(edges[-1] + max(1.0, 0.1 * edges[-1]))
    shell = torch.bucketize(k.flatten() / unit, torch.tensor(edges))
    _, shell = torch.unique(shell, return_inverse=True)  # none of them empty
    return shell, hermitian(cells).double().expand(k.shape).flatten()


def shell_means(cells: Sequence[int]) -> Tensor:
    """Return the matrix ``(modes, shells)`` that averages over each of the `shells` but ``k = 0``.

    It multiplies flat modes from the right; all cells are equal cubes.
    """
    shell, weight = shells(cells, [1.0] * len(cells))
    share = torch.zeros(len(shell), int(shell.max()) + 1)
    share[torch.arange(len(shell)), shell] = (weight / torch.bincount(shell, weight)[shell]).float()
    return share[:, 1:]


def taper(cells: Sequence[int], periodic: Sequence[bool]) -> Tensor:
    """Return a window that goes to zero where a field ends, of mean square 1; Hann along an axis.

    Periodic axes have no end.
    """
    window = torch.ones(tuple(cells))
    for axis, (n, comes_round) in enumerate(zip(cells, periodic)):
        if not comes_round:
            along = torch.sin(math.pi * (torch.arange(n) + 0.5) / n).square()
            window = window * along.view([-1 if a == axis else 1 for a in range(len(cells))])
    return window / window.square().mean().sqrt()
