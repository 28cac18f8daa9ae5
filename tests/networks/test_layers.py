"""Layers against loops and counts."""

import math

import pytest
import torch
import torch.nn.functional as F

from emulators.networks.layers import LocallyConnected2d, MinibatchDiscrimination, mlp, wrapped


@pytest.mark.parametrize(
    ("channels", "features", "size", "kernel", "stride", "bias"),
    [
        (3, 5, (4, 7), (2, 2), (1, 1), True),
        (2, 4, (5, 9), (3, 3), (1, 2), True),
        (1, 1, (3, 3), (2, 3), (1, 1), False),
        (2, 3, (7, 6), (2, 1), (3, 2), True),
    ],
)
def test_locally_connected_is_a_convolution_of_its_own_at_every_position(
    channels, features, size, kernel, stride, bias
):
    torch.manual_seed(0)
    layer = LocallyConnected2d(channels, features, size, kernel, stride, bias=bias)
    if bias:
        torch.nn.init.normal_(layer.bias)
    x = torch.randn(6, channels, *size)
    out = layer(x)
    height, width = layer.out_size
    expected = torch.empty(6, features, height, width)
    for i in range(height):
        for j in range(width):
            weight = layer.weight[i * width + j].permute(2, 1, 0).unflatten(2, kernel)
            top, left = i * stride[0], j * stride[1]
            patch = x[:, :, top : top + kernel[0], left : left + kernel[1]]
            expected[:, :, i, j] = F.conv2d(patch, weight)[:, :, 0, 0]
    if bias:
        expected = expected + layer.bias
    assert out.shape == F.conv2d(x, torch.zeros(features, channels, *kernel), None, stride).shape
    torch.testing.assert_close(out, expected)
    area = math.prod(kernel)
    count = height * width * features * (channels * area + bias)
    assert sum(p.numel() for p in layer.parameters()) == count


def test_locally_connected_with_equal_kernels_is_a_convolution():
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(3, 4, (2, 3), bias=False)
    layer = LocallyConnected2d(3, 4, (5, 6), (2, 3), bias=False)
    with torch.no_grad():
        layer.weight.copy_(conv.weight.permute(2, 3, 1, 0).flatten(0, 1))
    x = torch.randn(2, 3, 5, 6)
    torch.testing.assert_close(layer(x), conv(x))


def test_locally_connected_refuses_a_kernel_larger_than_its_input():
    with pytest.raises(ValueError, match="larger"):
        LocallyConnected2d(1, 1, (2, 5), (3, 3))


def test_locally_connected_gradients_are_right_twice():
    torch.manual_seed(0)
    layer = LocallyConnected2d(2, 2, (3, 4), (2, 2)).double()
    x = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)
    assert torch.autograd.gradgradcheck(lambda v: layer(v).square(), x)


@pytest.mark.parametrize("positions_in_fan", [False, True])
@pytest.mark.parametrize("initial", ["he_uniform", "glorot_uniform", "glorot_normal"])
def test_initial_weights_have_the_width_of_their_law(initial, positions_in_fan):
    torch.manual_seed(0)
    options = {"initial": initial, "positions_in_fan": positions_in_fan}
    layer = LocallyConnected2d(5, 7, (13, 13), (2, 2), **options)
    repeats, fan_in, fan_out = (144, 20, 7) if positions_in_fan else (1, 20, 28)
    variance = 2 / fan_in if initial == "he_uniform" else 2 / (fan_in + fan_out)
    expected = math.sqrt(variance / repeats)
    assert layer.weight.std().item() == pytest.approx(expected, rel=0.03)
    if initial != "glorot_normal":
        assert layer.weight.abs().max().item() <= math.sqrt(3) * expected * 1.0001
    assert layer.bias.abs().max() == 0


def test_minibatch_discrimination_is_the_sum_over_pairs():
    torch.manual_seed(0)
    layer = MinibatchDiscrimination(4, kernels=3, width=2)
    x = torch.randn(5, 4)
    points = torch.stack([x @ layer.weight[k] for k in range(3)], 1)
    expected = torch.zeros(5, 3)
    for i in range(5):
        for j in range(5):  # itself included
            expected[i] += torch.exp(-(points[i] - points[j]).abs().sum(1))
    torch.testing.assert_close(layer(x), expected)
    torch.nn.init.normal_(layer.bias)  # the same shift of all points
    torch.testing.assert_close(layer(x), expected)


def test_minibatch_discrimination_knows_copies_from_strangers():
    layer = MinibatchDiscrimination(2)
    torch.testing.assert_close(layer(torch.ones(7, 2)), torch.full((7, 10), 7.0))
    strangers = 1e4 * torch.arange(7.0)[:, None] * torch.tensor([[1.0, 0.7]])
    torch.testing.assert_close(layer(strangers), torch.ones(7, 10))


def test_minibatch_discrimination_keeps_float32_under_autocast():
    torch.manual_seed(0)
    layer = MinibatchDiscrimination(3)
    x = 100 + torch.rand(8, 3)  # spread below what bfloat16 resolves at 100
    expected = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(x), expected)


def test_mlp_has_no_activation_after_the_last_layer():
    layers = mlp((3, 5, 4, 2), "relu", batch_norm=True)
    names = [type(layer).__name__ for layer in layers]
    hidden = ["Linear", "BatchNorm1d", "ReLU"]
    assert names == [*hidden, *hidden, "Linear"]
    assert layers[-1].weight.shape == (2, 4)
    assert len(mlp((3, 1))) == 1


@pytest.mark.parametrize("periodic", [(True,), (True, True), (True, False), (True, True, True)])
def test_wrapped_is_circular_padding(periodic):
    numbers = torch.Generator().manual_seed(4)
    x = torch.randn(2, 2, *(4, 3, 2)[: len(periodic)], dtype=torch.double, generator=numbers)
    x.requires_grad_()
    expected = x
    for axis, p in enumerate(periodic, 2):
        if p:
            ends = expected.narrow(axis, -1 % expected.shape[axis], 1), expected.narrow(axis, 0, 1)
            expected = torch.cat([ends[0], expected, ends[1]], axis)
    assert torch.equal(wrapped(x, periodic), expected)
    torch.autograd.gradcheck(lambda v: wrapped(v, periodic), x)
    torch.autograd.gradgradcheck(lambda v: wrapped(v, periodic).square(), x)


def test_wrapped_keeps_channels_innermost():
    x = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    assert wrapped(x, (True, True)).is_contiguous(memory_format=torch.channels_last)
