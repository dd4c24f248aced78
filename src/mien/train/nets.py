"""Networks, each a short documented function in one registry.

A network takes standardised views (N, 1, H, W) float32 and returns one logits tensor per head, in the order of `heads`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mien.labels import FER7, FERPLUS8, LabelSet


class Standardise(nn.Module):
    """Centre-crop to the view a network wants and give every picture zero mean and unit deviation.

    Part of the exported graph, so training, Python and a browser see the same numbers.
    """

    def __init__(self, view_px: int) -> None:
        """Remember the side of the view.

        Args:
            view_px: Side of the central view, at most the side of the crops.
        """
        super().__init__()
        self.view_px = view_px

    def forward(self, crops: Tensor) -> Tensor:
        """Return standardised central views.

        Args:
            crops: (N, H, W) uint8 or float in 0-255, H and W at least `view_px`.

        Returns:
            (N, 1, view_px, view_px) float32, each with mean 0 and standard deviation 1.
        """
        top, left = (crops.shape[-2] - self.view_px) // 2, (crops.shape[-1] - self.view_px) // 2
        view = crops[:, top : top + self.view_px, left : left + self.view_px].to(torch.float32)
        return standardise(view.unsqueeze(1))


def standardise(views: Tensor) -> Tensor:
    """Give every picture zero mean and unit standard deviation.

    Args:
        views: (N, 1, H, W) float32 in 0-255.

    Returns:
        (N, 1, H, W) float32; a flat picture becomes zeros, not NaN.
    """
    centred = views - views.mean(dim=(2, 3), keepdim=True)
    deviation = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
    return centred / (deviation + 1.0)  # one gray level: keeps the noise of a flat picture small


class ConvUnit(nn.Sequential):
    """A 3x3 convolution, batch normalisation and ReLU (folded into one convolution at export)."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        """Build the unit.

        Args:
            inputs: Channels in.
            outputs: Channels out.
            stride: Stride of the convolution.
        """
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class SqueezeExcite(nn.Module):
    """Channel attention (Hu et al. 2018)."""

    def __init__(self, channels: int, *, reduction: int = 8) -> None:
        """Build the two 1x1 layers.

        Args:
            channels: Channels in and out.
            reduction: How much narrower the hidden layer is.
        """
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction)
        self.excite = nn.Linear(channels // reduction, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of (N, C, H, W) by gates in 0-1."""
        gates = self.excite(torch.relu(self.squeeze(x.mean(dim=(2, 3))))).sigmoid()
        return x * gates[:, :, None, None]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016) and squeeze-and-excite before the sum."""

    def __init__(self, channels: int) -> None:
        """Build the block.

        Args:
            channels: Channels in and out.
        """
        super().__init__()
        self.first = ConvUnit(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.attention = SqueezeExcite(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        return torch.relu(x + self.attention(self.norm(self.second(self.first(x)))))


class MultiHeadNet(nn.Module):
    """A convolutional trunk, global average pooling, dropout and one linear head per label set.

    Attributes:
        heads: The label set of each head, in the order of the outputs.
        view_px: Side of the views the network is run on.
    """

    def __init__(
        self, trunk: nn.Module, features: int, *, heads: tuple[LabelSet, ...], view_px: int, dropout: float = 0.3
    ) -> None:
        """Put the trunk and its heads together.

        Args:
            trunk: Maps (N, 1, H, W) to (N, features, h, w).
            features: Channels of the trunk's output.
            heads: One label set per head.
            view_px: Side of the central view at run time.
            dropout: Probability of dropping a feature in training.
        """
        super().__init__()
        self.heads = heads
        self.view_px = view_px
        self.trunk = trunk
        self.dropout = nn.Dropout(dropout)
        self.classifiers = nn.ModuleList(nn.Linear(features, len(labels)) for labels in heads)

    def forward(self, views: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of every head.

        Args:
            views: (N, 1, H, W) float32, standardised.

        Returns:
            One (N, C) tensor per head.
        """
        features = self.dropout(self.trunk(views).mean(dim=(2, 3)))
        return tuple(classify(features) for classify in self.classifiers)


TWO_HEADS = (FER7, FERPLUS8)


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
        ConvUnit(64, 128),
        ResidualBlock(128),
        nn.MaxPool2d(2),
        ConvUnit(128, 256),
        ResidualBlock(256),
    )
    return MultiHeadNet(trunk, 256, heads=heads, view_px=44)


def mien_s(heads: tuple[LabelSet, ...] = TWO_HEADS) -> MultiHeadNet:
    """A small network for live video: a strided stem and 32-64-128 channels, about 0.3 M parameters.

    Args:
        heads: One label set per head.

    Returns:
        The network with fresh weights; run on central 44x44 views.
    """
    trunk = nn.Sequential(
        ConvUnit(1, 32, stride=2),
        ConvUnit(32, 32),
        nn.MaxPool2d(2),
        ConvUnit(32, 64),
        ConvUnit(64, 64),
        nn.MaxPool2d(2),
        ConvUnit(64, 128),
        ConvUnit(128, 128),
    )
    return MultiHeadNet(trunk, 128, heads=heads, view_px=44, dropout=0.1)


NETS: dict[str, Callable[..., MultiHeadNet]] = {"mien-b": mien_b, "mien-s": mien_s}


def count_parameters(net: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)
