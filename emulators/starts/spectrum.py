"""The power spectrum of fields, which follows the conditions, and the modes of lattices."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from emulators.data.spec import SampleSpec
from emulators.starts.polynomials import features, log_mean, n_features

__all__ = ["Spectrum", "shell_means", "shells", "taper", "wave_number"]

KNOTS = 33  # wave numbers at which the spectrum is tabulated
CHUNK = 1 << 24  # cells worked on at once
ROUNDING = 1e-12  # of the largest power: what is below it in single precision is rounding


class Spectrum(nn.Module):
    """The power of a Gaussianised field against wave number, a polynomial of the conditions.

    Power is the variance of a mode over the number of cells, so that it does not depend on the size
    of the box; its logarithm is linear in ``log k`` between `KNOTS` wave numbers.  ``k`` counts
    radians per length of the grid (h/Mpc, 1/deg), or per cell where there is no grid.
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
    def fit(
        self,
        y: Tensor,
        c: Tensor,
        simulations: Tensor | None = None,
        around: "Spectrum | None" = None,
    ) -> None:
        """Fit to fields ``(n, channels, *cells)`` at scaled conditions ``(n, k)``.

        The polynomial has the degree that the ``simulations (n,)`` decide; or it differs by one of
        that degree from the polynomial of another spectrum, of the same knots.
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
            # the mean would leak through the window into the largest scales
            mean = some.double().mean(dims, keepdim=True)
            size = torch.fft.rfftn((some - mean).float() * window, dim=dims).abs().flatten(2)
            power = size.double().square() / math.prod(self.cells)
            power[..., 0] = mean.flatten(1).square() * math.prod(self.cells)
            power *= share
            means = power.new_zeros(*power.shape[:2], len(modes)).index_add_(2, places, power)
            parts.append(means.cpu())
        knots = torch.linspace(float(log_k[1]), float(log_k[-1]), KNOTS - 1)
        self.log_k.copy_(torch.cat([log_k[:1], knots]))
        left, step = _place(self.log_k.double().cpu(), log_k)
        design = features(c.double()).cpu()
        for channel, power in enumerate(torch.cat(parts).unbind(1)):
            power = power.clamp_min(ROUNDING * float(power.max()) or ROUNDING)  # its log is taken
            if around is not None:
                at, on = _place(log_k, around.log_k.double().cpu())
                known = around.coefficients[channel].double().cpu()
                power = power / (design @ (known[:, at] * (1 - on) + known[:, at + 1] * on)).exp()
            beta = log_mean(power, c, simulations)
            at_knots = beta[:, left] * (1 - step) + beta[:, left + 1] * step
            self.coefficients[channel] = at_knots.to(self.coefficients)
            if around is not None:
                self.coefficients[channel] += around.coefficients[channel]

    @torch.no_grad()
    def forward(self, white: Tensor, c: Tensor) -> Tensor:
        """Colour white noise ``(n, channels, *cells)`` on a periodic grid, to a variance of 1."""
        field, variance = self.multiplied(white, c)
        return field.div_(variance.sqrt())

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
