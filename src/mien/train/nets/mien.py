"""Mien's own networks: residual trunks of several sizes, with one linear head per label set."""

from collections import OrderedDict

from torch import nn

from mien.labels import LabelSet
from mien.train.nets.blocks import TWO_HEADS, ConvUnit, MultiHeadNet, ResidualBlock


def mien_b(heads: tuple[LabelSet, ...] = TWO_HEADS) -> MultiHeadNet:
    """The default network: a plain residual trunk of 32-64-128-256 channels, about 1.9 M parameters.

    Args:
        heads: One label set per head.

    Returns:
        The network with fresh weights; run on central 44x44 views.
    """
    trunk = nn.Sequential(
        ConvUnit(1, 32),
        ConvUnit(32, 32),
        nn.MaxPool2d(2),
        ConvUnit(32, 64),
        ConvUnit(64, 64),
        nn.MaxPool2d(2),
        *_residual_stages(64, 128, 256),
    )
    return MultiHeadNet(trunk, 256, heads=heads, view_px=44)


def mien_b2(heads: tuple[LabelSet, ...] = TWO_HEADS) -> MultiHeadNet:
    """`mien_b` with one more residual block of 128 channels, about 2.2 M parameters.

    The block starts idle, so that the network can go on from trained weights of `mien_b`.

    Args:
        heads: One label set per head.

    Returns:
        The network with fresh weights; run on central 44x44 views.
    """
    return _deeper(mien_b(heads), "deeper")


def mien_b3(heads: tuple[LabelSet, ...] = TWO_HEADS) -> MultiHeadNet:
    """`mien_b2` with two more residual blocks of 128 channels, about 2.8 M parameters; they start idle, too.

    Args:
        heads: One label set per head.

    Returns:
        The network with fresh weights; run on central 44x44 views.
    """
    return _deeper(_deeper(mien_b2(heads), "deeper2"), "deeper3")


def _deeper(net: MultiHeadNet, name: str) -> MultiHeadNet:
    """Add an idle residual block of 128 channels behind those that are there."""
    layers = OrderedDict(net.trunk.named_children())
    last = max(n for n, (_, layer) in enumerate(layers.items()) if _width(layer) == 128)
    items = list(layers.items())
    items.insert(last + 1, (name, ResidualBlock(128, starts_idle=True)))
    net.trunk = nn.Sequential(OrderedDict(items))
    return net


def _width(layer: nn.Module) -> int:
    return layer.norm.num_features if isinstance(layer, ResidualBlock) else 0


def mien_s(heads: tuple[LabelSet, ...] = TWO_HEADS) -> MultiHeadNet:
    """A small network for live video: a strided stem and residual 32-64-128 channels, about 0.5 M parameters.

    Args:
        heads: One label set per head.

    Returns:
        The network with fresh weights; run on central 44x44 views.
    """
    return _small(heads, 64, 128)


def mien_s2(heads: tuple[LabelSet, ...] = TWO_HEADS) -> MultiHeadNet:
    """`mien_s` with 32-96-192 channels, about 1.0 M parameters: in eight bits as fast as `mien_s` in single precision.

    Args:
        heads: One label set per head.

    Returns:
        The network with fresh weights; run on central 44x44 views.
    """
    return _small(heads, 96, 192)


def mien_m(heads: tuple[LabelSet, ...] = TWO_HEADS) -> MultiHeadNet:
    """Between `mien_s2` and `mien_b`: a strided stem and residual 64-128-208 channels, about 1.5 M parameters.

    Args:
        heads: One label set per head.

    Returns:
        The network with fresh weights; run on central 44x44 views.
    """
    trunk = nn.Sequential(
        ConvUnit(1, 32, stride=2),
        ConvUnit(32, 64),
        ConvUnit(64, 64),
        nn.MaxPool2d(2),
        *_residual_stages(64, 128, 208),
    )
    return MultiHeadNet(trunk, 208, heads=heads, view_px=44)


def _small(heads: tuple[LabelSet, ...], middle: int, last: int) -> MultiHeadNet:
    trunk = nn.Sequential(
        ConvUnit(1, 32, stride=2),
        ConvUnit(32, 32),
        nn.MaxPool2d(2),
        *_residual_stages(32, middle, last, attention=False),
    )
    return MultiHeadNet(trunk, last, heads=heads, view_px=44, dropout=0.1)


def _residual_stages(inputs: int, middle: int, last: int, *, attention: bool = True) -> tuple[nn.Module, ...]:
    """Return the end of a trunk: two stages of a convolution and a residual block, pooling between them."""
    return (
        ConvUnit(inputs, middle),
        ResidualBlock(middle, attention=attention),
        nn.MaxPool2d(2),
        ConvUnit(middle, last),
        ResidualBlock(last, attention=attention),
    )
