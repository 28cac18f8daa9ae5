"""The pieces of the `field` pair: periodic convolutions, residual blocks, packing of cells.

Functions take ``(batch, channels, *cells)`` with one to three axes of cells.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emulators.networks.layers import CONVOLUTIONS, wrapped

__all__ = ["Block", "Convolution", "activation", "halved", "ordered", "packed", "unpacked"]


class Convolution(nn.Module):
    """A convolution of 3 cells along each axis; ends meet where the field is periodic."""

    def __init__(
        self, inputs: int, outputs: int, periodic: Sequence[bool], scale: float = 1.0
    ) -> None:
        super().__init__()
        ends = tuple(0 if p else 1 for p in periodic)
        convolution: Any = CONVOLUTIONS[len(periodic) - 1]
        self.layer = convolution(inputs, outputs, 3, padding=ends)
        self.periodic = tuple(periodic)
        nn.init.kaiming_normal_(self.layer.weight, a=0.2)
        with torch.no_grad():
            self.layer.weight.mul_(scale)
            self.layer.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, inputs, *cells)`` to ``(batch, outputs, *cells)``."""
        return cast(Tensor, self.layer(wrapped(x, self.periodic) if any(self.periodic) else x))


class Block(nn.Module):
    """Two convolutions added to what comes in; the conditions scale and shift between them."""

    def __init__(self, width: int, periodic: Sequence[bool], inputs: int, scale: float) -> None:
        super().__init__()
        self.first = Convolution(width, width, periodic)
        self.second = Convolution(width, width, periodic, scale)
        self.modulation = nn.Linear(inputs, 2 * width, bias=False) if inputs else None
        if self.modulation is not None:
            nn.init.normal_(self.modulation.weight, std=0.1)

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        """Map ``h (batch, width, *cells)`` at the conditions ``e (batch, inputs)``."""
        u = self.first(activation(h))
        if self.modulation is not None:
            gain, shift = self.modulation(e).view(*e.shape[:1], -1, *[1] * (h.ndim - 2)).chunk(2, 1)
            u = u * (1 + gain) + shift
        return h + cast(Tensor, self.second(activation(u)))


def activation(x: Tensor) -> Tensor:
    """Return the leaky ReLU of slope 0.2."""
    return F.leaky_relu(x, 0.2)


def packed(x: Tensor) -> Tensor:
    """Move the 2 x 2 (x 2) cells of each larger cell into channels."""
    n, channels, *cells = x.shape
    split = [part for size in cells for part in (size // 2, 2)]
    d = len(cells)
    order = [0, 1, *(3 + 2 * i for i in range(d)), *(2 + 2 * i for i in range(d))]
    x = x.reshape(n, channels, *split).permute(order)
    return ordered(x.reshape(n, channels * 2**d, *(size // 2 for size in cells)))


def unpacked(x: Tensor) -> Tensor:
    """Undo `packed`."""
    n, channels, *cells = x.shape
    d = len(cells)
    x = x.reshape(n, channels >> d, *[2] * d, *cells)
    order = [0, 1, *(i for a in range(d) for i in (2 + d + a, 2 + a))]
    return x.permute(order).reshape(n, channels >> d, *(2 * size for size in cells))


def ordered(x: Tensor) -> Tensor:
    """Put the channels innermost, where convolutions are fastest."""
    if x.ndim == 4:
        return x.contiguous(memory_format=torch.channels_last)
    return x.contiguous(memory_format=torch.channels_last_3d) if x.ndim == 5 else x


def halved(x: Tensor) -> Tensor:
    """Average over 2 x 2 (x 2) cells."""
    pool: Any = {3: F.avg_pool1d, 4: F.avg_pool2d, 5: F.avg_pool3d}[x.ndim]
    return cast(Tensor, pool(x, 2))
