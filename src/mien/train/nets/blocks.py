"""What networks are made of, and what each of them is: views in, one tensor of logits per head out."""

import torch
from torch import Tensor, nn

from mien.errors import InputError
from mien.labels import FER7, FERPLUS8, LabelSet

TWO_HEADS = (FER7, FERPLUS8)
ONE_HEAD = (FER7,)


def standardise(views: Tensor) -> Tensor:
    """Give every image zero mean and unit standard deviation.

    Args:
        views: (N, 1, H, W) float32 in 0-255.

    Returns:
        (N, 1, H, W) float32; a flat image becomes zeros, not NaN.
    """
    centred = views - views.mean(dim=(2, 3), keepdim=True)
    deviation = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
    return centred / (deviation + 1.0)  # one gray level: keeps the noise of a flat image small


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
        gates: Tensor = self.excite(torch.relu(self.squeeze(x.mean(dim=(2, 3))))).sigmoid()
        return x * gates[:, :, None, None]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016), with or without squeeze-and-excite before the sum."""

    def __init__(self, channels: int, *, attention: bool = True, starts_idle: bool = False) -> None:
        """Build the block.

        Args:
            channels: Channels in and out.
            attention: Whether to squeeze and excite.
            starts_idle: Whether fresh weights leave what comes in (if it is not negative) as it is (Goyal et al. 2017),
                so that the block can be added to a trained network.
        """
        super().__init__()
        self.first = ConvUnit(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.attention = SqueezeExcite(channels) if attention else nn.Identity()
        if starts_idle:
            nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        return torch.relu(x + self.attention(self.norm(self.second(self.first(x)))))


class ExpressionNet(nn.Module):
    """What every network of the registry is: views in, logits per head out.

    Attributes:
        heads: The label set of each head, in the order of the outputs.
        view_px: Side of the central view of a crop that the network is run on.
    """

    def __init__(self, *, heads: tuple[LabelSet, ...], view_px: int) -> None:
        """Remember the heads and the view.

        Args:
            heads: One label set per head, at least one.
            view_px: Side of the central view at run time.

        Raises:
            InputError: There is no head.
        """
        super().__init__()
        if not heads:
            raise InputError("a network needs at least one head, got none; pass heads=(FER7,), say")
        self.heads = heads
        self.view_px = view_px

    def normalise(self, views: Tensor) -> Tensor:
        """Turn views into what `forward` takes.

        Args:
            views: (N, 1, v, v) float32 in 0-255.

        Returns:
            (N, C, v, v) float32.
        """
        raise NotImplementedError

    def forward(self, views: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of every head.

        Args:
            views: (N, C, v, v) float32 as `normalise` returns it.

        Returns:
            One (N, classes) tensor per head.
        """
        raise NotImplementedError


class MultiHeadNet(ExpressionNet):
    """A convolutional trunk, global average pooling, dropout and one linear head per label set."""

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
        super().__init__(heads=heads, view_px=view_px)
        self.trunk = trunk
        self.dropout = nn.Dropout(dropout)
        self.classifiers = nn.ModuleList(nn.Linear(features, len(labels)) for labels in heads)

    def normalise(self, views: Tensor) -> Tensor:
        """Turn views (N, 1, v, v) float32 in 0-255 into what `forward` takes: each standardised, same shape."""
        return standardise(views)

    def forward(self, views: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of every head.

        Args:
            views: (N, 1, H, W) float32, standardised.

        Returns:
            One (N, C) tensor per head.
        """
        features = self.dropout(self.trunk(views).mean(dim=(2, 3)))
        return tuple(classify(features) for classify in self.classifiers)
