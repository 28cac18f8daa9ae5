"""Layers that several architectures share and torch does not have."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "ACTIVATIONS",
    "CONVOLUTIONS",
    "OUTPUTS",
    "TRANSPOSED",
    "Activation",
    "LocallyConnected2d",
    "MinibatchDiscrimination",
    "full_precision",
    "mlp",
    "wrapped",
]

Activation = Literal["swish", "relu", "leaky_relu"]
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "swish": nn.SiLU,
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
}


# What the last layer of a generator goes through.
OUTPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": F.relu,
    "softplus": F.softplus,
}
# By the number of axes, less one.
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def full_precision(x: Tensor) -> torch.autocast:
    """Return a context in which autocast is off on the device of ``x``: for fragile sums."""
    return torch.autocast(x.device.type, enabled=False)


def mlp(
    widths: Sequence[int], activation: Activation = "leaky_relu", *, batch_norm: bool = False
) -> nn.Sequential:
    """Return linear layers of these widths with activations between them, none after the last.

    Parameters
    ----------
    widths
        Input, hidden and output widths, at least two.
    activation
        What follows every layer but the last.
    batch_norm
        Put batch normalisation between each hidden layer and its activation.
    """
    layers: list[nn.Module] = []
    for width, wider in itertools.pairwise(widths[:-1]):
        layers += [nn.Linear(width, wider), *([nn.BatchNorm1d(wider)] if batch_norm else [])]
        layers.append(ACTIVATIONS[activation]())
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


class LocallyConnected2d(nn.Module):
    """A convolution whose kernel is not shared: every output pixel has weights of its own.

    Calorimeter images are not translation invariant (a shower has a centre and layers have edges),
    which is why LAGAN (arXiv:1701.05927) and CaloGAN (arXiv:1712.10321) use such layers; torch has
    none.  Pixels of every patch are gathered with the batch innermost (whole rows are copied, which
    is twice as fast as `unfold`) and multiplied pixel by pixel.

    Parameters
    ----------
    in_channels, out_channels
        Numbers of channels.
    size
        Height and width of the input, including any padding done before this layer.
    kernel, stride
        As in `torch.nn.Conv2d`, "valid" padding.
    bias
        Whether every output pixel of every channel has a bias, initially zero.
    initial
        The law of the first weights, with the fans of a convolution of this kernel.
    positions_in_fan
        Count the output positions into the fans as well, as Keras does for this layer: weights
        start smaller by the square root of the number of output pixels.

    Attributes
    ----------
    weight
        Shape ``(positions, kernel_height * kernel_width, in_channels, out_channels)``.
    bias
        Shape ``(out_channels, height, width)`` of the output, or None.
    """

    index: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: tuple[int, int],
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        *,
        bias: bool = True,
        initial: Literal["he_uniform", "glorot_uniform", "glorot_normal"] = "he_uniform",
        positions_in_fan: bool = False,
    ) -> None:
        super().__init__()
        if any(k > s for k, s in zip(kernel, size)):
            raise ValueError(f"kernel {kernel} is larger than the input {size}")
        height, width = ((s - k) // d + 1 for s, k, d in zip(size, kernel, stride))
        self.out_size, positions, area = (height, width), height * width, math.prod(kernel)
        pixels = torch.arange(math.prod(size)).reshape(size)
        windows = pixels.unfold(0, kernel[0], stride[0]).unfold(1, kernel[1], stride[1])
        self.register_buffer("index", windows.flatten(), persistent=False)  # (positions * area,)
        self.weight = nn.Parameter(torch.empty(positions, area, in_channels, out_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels, height, width)) if bias else None
        # A convolution's fan out counts the area of its kernel; Keras's flat kernel here has none.
        wide, repeats = (1, positions) if positions_in_fan else (area, 1)
        both = (in_channels * area + out_channels * wide) * repeats
        if initial == "glorot_normal":
            nn.init.normal_(self.weight, std=math.sqrt(2 / both))
        else:
            fan = both if initial == "glorot_uniform" else in_channels * area * repeats
            limit = math.sqrt(6 / fan)
            nn.init.uniform_(self.weight, -limit, limit)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, in_channels, *size)`` to ``(batch, out_channels, *out_size)``."""
        positions, area, channels, features = self.weight.shape
        pixels = x.permute(2, 3, 0, 1).reshape(-1, len(x), channels)
        patches = pixels.index_select(0, self.index)
        products = torch.bmm(patches, self.weight.flatten(0, 1))
        out = products.reshape(positions, area, len(x), features).sum(1)
        image = out.permute(1, 2, 0).reshape(len(x), features, *self.out_size)
        return image if self.bias is None else image + self.bias


class MinibatchDiscrimination(nn.Module):
    """How close each sample is to the others of its batch (arXiv:1606.03498, section 3.2).

    Features are mapped to ``kernels`` points in ``width`` dimensions; for each kernel the result is
    the sum over the batch of ``exp(-L1 distance)``, the sample itself (a term of 1) included.  A
    generator that makes one sample again and again is given away by sums near the batch size.

    The bias shifts all points alike, so it cancels in the distances and never gets a gradient; it
    is a parameter only because the published architecture counts it.
    """

    def __init__(self, in_features: int, kernels: int = 10, width: int = 10) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(kernels, in_features, width))
        self.bias = nn.Parameter(torch.zeros(kernels, width))
        # Keras's glorot_uniform of a kernel of this shape: the kernels count into both fans
        limit = math.sqrt(6 / (kernels * (in_features + width)))
        nn.init.uniform_(self.weight, -limit, limit)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, in_features)`` to ``(batch, kernels)``, float32, values in [1, batch]."""
        # In bfloat16 neighbours would lie at distance 0, or at distances that are rounding only.
        with full_precision(x):
            points = torch.einsum("bi,kiw->wkb", x.float(), self.weight) + self.bias.T[..., None]
            # One dimension after the other: (batch, batch, kernels, width) at once is slow and big.
            distance = points.new_zeros(())
            for p in points:
                distance = distance + (p[..., None] - p[:, None]).abs()
            return torch.exp(-distance).sum(2).T


def wrapped(x: Tensor, periodic: Sequence[bool]) -> Tensor:
    """Pad ``x (batch, channels, *cells)`` by one cell at both ends of every periodic axis.

    As `torch.nn.functional.pad` does in mode "circular", which takes three times as long forwards
    and backwards; twice differentiable.
    """
    return _Wrap.apply(x, tuple(periodic))  # type: ignore[no-any-return, no-untyped-call]


class _Wrap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, periodic: tuple[bool, ...]) -> Tensor:
        ctx.periodic = periodic
        shape = [*x.shape[:2], *(n + 2 * p for n, p in zip(x.shape[2:], periodic))]
        y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=_memory_format(x))
        y[(..., *(slice(1, -1) if p else slice(None) for p in periodic))] = x
        for axis in (2 + a for a, p in enumerate(periodic) if p):
            # axes that come later are filled in whole by later turns
            y.select(axis, 0).copy_(y.select(axis, -2))
            y.select(axis, -1).copy_(y.select(axis, 1))
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Unwrap.apply(gradient, ctx.periodic), None  # type: ignore[no-untyped-call]


class _Unwrap(torch.autograd.Function):
    """The adjoint: what fell on a pad is added to the cell that it copies."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, periodic: tuple[bool, ...]) -> Tensor:
        ctx.periodic = periodic
        folded = padded.clone()
        for axis in reversed([2 + a for a, p in enumerate(periodic) if p]):
            folded.select(axis, -2).add_(folded.select(axis, 0))
            folded.select(axis, 1).add_(folded.select(axis, -1))
        inner = folded[(..., *(slice(1, -1) if p else slice(None) for p in periodic))]
        return inner.contiguous(memory_format=_memory_format(padded))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Wrap.apply(gradient, ctx.periodic), None  # type: ignore[no-untyped-call]


def _memory_format(x: Tensor) -> torch.memory_format:
    """Return the format of ``x``: channels innermost where it has them there."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    wanted = formats.get(x.ndim, torch.contiguous_format)
    return wanted if x.is_contiguous(memory_format=wanted) else torch.contiguous_format
