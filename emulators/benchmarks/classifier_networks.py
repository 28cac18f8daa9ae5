"""The networks of two-sample tests: a dense one for features, a residual one for voxel images.

References
----------
The residual network is the smallest of He et al., arXiv:1512.03385, in three dimensions and narrow,
as CaloChallenge trains it on data sets 2 and 3: arXiv:2410.21611.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["ResidualNetwork", "dense_network"]

# Channels and stride of the four stages, two blocks each.
_STAGES = ((32, 1), (64, 2), (64, 2), (128, 2))


def dense_network(features: int, width: int, hidden: int) -> nn.Sequential:
    """Return a classifier of rows of features, shape ``(n, features)`` to logits ``(n, 1)``."""
    layers: list[nn.Module] = []
    for a, b in pairwise([features, *[width] * hidden]):
        layers += [nn.Linear(a, b), nn.LeakyReLU(0.01)]
    return nn.Sequential(*layers, nn.Linear(width, 1))


class ResidualNetwork(nn.Module):
    """A classifier of showers as images: ResNet-18 in three dimensions.

    Its input is what `dense_network` has for the view ``low``: a row is one number (log10 E_inc)
    and then the voxels.  The number is normalised over the batch and joins the pooled image before
    the last linear layer.

    Parameters
    ----------
    image
        Numbers of layers, alpha bins and r bins.
    """

    def __init__(self, image: tuple[int, int, int]) -> None:
        super().__init__()
        self.image = image
        self.energy_norm = nn.BatchNorm1d(1)
        channels = _STAGES[0][0]
        layers: list[nn.Module] = [
            # padded by itself: of images smaller than the kernel, the gradient of a convolution
            # that pads is not always finite on a CPU (torch 2.13)
            nn.ConstantPad3d(3, 0.0),
            nn.Conv3d(1, channels, 7, stride=2, bias=False),
            nn.BatchNorm3d(channels),
            nn.ReLU(),
            nn.MaxPool3d(3, stride=2, padding=1),
        ]
        for wanted, stride in _STAGES:
            layers += [_Block(channels, wanted, stride), _Block(wanted, wanted, 1)]
            channels = wanted
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten())
        self.last = nn.Linear(channels + 1, 1)
        for module in self.body.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, rows: Tensor) -> Tensor:
        """Return logits ``(n, 1)`` of rows ``(n, 1 + voxels)``."""
        image = self.body(rows[:, 1:].reshape(-1, 1, *self.image))
        logits: Tensor = self.last(torch.cat([image, self.energy_norm(rows[:, :1])], 1))
        return logits


class _Block(nn.Module):
    def __init__(self, channels: int, wanted: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(channels, wanted, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm3d(wanted),
            nn.ReLU(),
            nn.Conv3d(wanted, wanted, 3, padding=1, bias=False),
            nn.BatchNorm3d(wanted),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != wanted:
            self.shortcut = nn.Sequential(
                nn.Conv3d(channels, wanted, 1, stride=stride, bias=False), nn.BatchNorm3d(wanted)
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))
