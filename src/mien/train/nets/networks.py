"""Networks, each a short documented function in one registry.

A network's `normalise` turns gray views (N, 1, v, v) float32 in 0-255 into what its `forward` takes; `forward` returns
one logits tensor per head, in the order of `heads`. Any tuple of label sets makes heads: seven classes, five, both.
"""

import itertools
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mien.errors import InputError
from mien.faces import CROP_PX
from mien.labels import FER7, FERPLUS8, LabelSet


class Standardise(nn.Module):
    """Centre-crop to the view a network wants and give every image zero mean and unit deviation.

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


TWO_HEADS = (FER7, FERPLUS8)
ONE_HEAD = (FER7,)
KERAS_EPS, KERAS_MOMENTUM = 1e-3, 0.01  # Keras writes the momentum as the share kept, 0.99
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VGG16_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions


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


class TutorialNet(ExpressionNet):
    """A trunk that flattens, and one linear head per label set; starts and normalises as Keras does.

    Keras starts weights from Glorot and Bengio's uniform distribution (2010), biases at zero, and its batch
    normalisation keeps 99 % of the old statistics at each step.
    """

    def __init__(self, trunk: nn.Module, features: int, *, heads: tuple[LabelSet, ...]) -> None:
        """Put the trunk and its heads together.

        Args:
            trunk: Maps (N, 1, 48, 48) to (N, features, 1, 1) or (N, features).
            features: Length of the trunk's flattened output.
            heads: One label set per head.
        """
        super().__init__(heads=heads, view_px=CROP_PX)
        self.trunk = trunk
        self.classifiers = nn.ModuleList(nn.Linear(features, len(labels)) for labels in heads)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def normalise(self, views: Tensor) -> Tensor:
        """Scale views (N, 1, 48, 48) float32 in 0-255 to 0-1."""
        return views / 255.0

    def forward(self, views: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of every head.

        Args:
            views: (N, 1, 48, 48) float32 in 0-1.

        Returns:
            One (N, classes) tensor per head.
        """
        features = self.trunk(views).flatten(1)
        return tuple(classify(features) for classify in self.classifiers)


class PooledConv(nn.Sequential):
    """The tutorials' block: convolution, batch normalisation, ReLU, 2x2 max pooling, dropout."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int) -> None:
        """Build the block.

        Args:
            inputs: Channels in.
            outputs: Channels out.
            kernel: Side of the kernel, odd; the border is padded with zeros.
        """
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2),
            nn.BatchNorm2d(outputs, eps=KERAS_EPS, momentum=KERAS_MOMENTUM),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Dropout(0.25),
        )


class NormalisedDense(nn.Sequential):
    """A fully connected layer, batch normalisation, ReLU and dropout."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Build the block.

        Args:
            inputs: Features in.
            outputs: Features out.
        """
        super().__init__(
            nn.Linear(inputs, outputs),
            nn.BatchNorm1d(outputs, eps=KERAS_EPS, momentum=KERAS_MOMENTUM),
            nn.ReLU(inplace=True),
            nn.Dropout(0.25),
        )


def tutorial_two_dense(heads: tuple[LabelSet, ...] = ONE_HEAD) -> TutorialNet:
    """The tutorials' CNN with four convolutions and two dense layers: 4,478,727 values for seven classes.

    Source: the most copied Keras tutorial on FER2013, a guided project named «Facial Expression Recognition with Keras»
    (2020). Keras' total counts the 3,968 running statistics of batch normalisation; 4,474,759 values are trained.

    Args:
        heads: One label set per head.

    Returns:
        The network with fresh weights; run on 48x48 crops scaled to 0-1.
    """
    return _tutorial(heads, channels=512, kernel=3, dense=(256, 512))


def tutorial_one_dense(heads: tuple[LabelSet, ...] = ONE_HEAD) -> TutorialNet:
    """The tutorials' CNN with four convolutions and one dense layer: 2,735,751 values for seven classes.

    Its author gives the number of layers, the total and the accuracy. The widths and kernels here are the arrangement
    of the two-dense CNN's blocks that meets the total exactly; with the kernels 3 and 5 of the last two blocks
    exchanged it would meet it too, at 376 M instead of 264 M multiply-adds.

    Args:
        heads: One label set per head.

    Returns:
        The network with fresh weights; run on 48x48 crops scaled to 0-1.
    """
    return _tutorial(heads, channels=128, kernel=5, dense=(256,))


def _tutorial(heads: tuple[LabelSet, ...], *, channels: int, kernel: int, dense: Sequence[int]) -> TutorialNet:
    """Put the three blocks that both CNNs share before a last one and the dense layers."""
    widths = (3 * 3 * channels, *dense)
    trunk = nn.Sequential(
        PooledConv(1, 64, kernel=3),
        PooledConv(64, 128, kernel=5),
        PooledConv(128, 512, kernel=3),
        PooledConv(512, channels, kernel=kernel),
        nn.Flatten(),
        *(NormalisedDense(inputs, outputs) for inputs, outputs in itertools.pairwise(widths)),
    )
    return TutorialNet(trunk, widths[-1], heads=heads)


def wide_cnn(heads: tuple[LabelSet, ...] = ONE_HEAD, *, filters: int = 5000, hidden: int = 2000) -> TutorialNet:
    """The tutorials' single wide convolution: 5,000 filters of 4x4, then a dense layer of 2,000.

    Source: the five-class tutorial around `ferdata.csv` that also trains KNN, an MLP and VGG16. Nearly all of its 1.44
    billion values (5.8 GB) sit in the dense layer; a smaller `filters` or `hidden` gives one that fits an ordinary
    machine.

    Args:
        heads: One label set per head.
        filters: Channels of the convolution.
        hidden: Width of the dense layer.

    Returns:
        The network with fresh weights; run on 48x48 crops scaled to 0-1.
    """
    trunk = nn.Sequential(
        nn.ZeroPad2d((1, 2, 1, 2)),  # where Keras' padding "same" puts the odd pixel
        nn.Conv2d(1, filters, 4),
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(filters, eps=KERAS_EPS, momentum=KERAS_MOMENTUM),
        nn.MaxPool2d(3, stride=4),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(12 * 12 * filters, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(0.2),
    )
    return TutorialNet(trunk, hidden, heads=heads)


def realtime_cnn(heads: tuple[LabelSet, ...] = ONE_HEAD) -> TutorialNet:
    """The real-time CNN: five unpadded convolutions and two dense layers of 1,024; 1,485,831 values for seven classes.

    Source: S. I. Serengil, «Facial Expression Recognition with Keras» (2018), whose weights DeepFace also uses.

    Args:
        heads: One label set per head.

    Returns:
        The network with fresh weights; run on 48x48 crops scaled to 0-1.
    """
    relu = nn.ReLU
    trunk = nn.Sequential(
        *(nn.Conv2d(1, 64, 5), relu(inplace=True), nn.MaxPool2d(5, stride=2)),
        *(nn.Conv2d(64, 64, 3), relu(inplace=True), nn.Conv2d(64, 64, 3), relu(inplace=True)),
        nn.AvgPool2d(3, stride=2),
        *(nn.Conv2d(64, 128, 3), relu(inplace=True), nn.Conv2d(128, 128, 3), relu(inplace=True)),
        nn.AvgPool2d(3, stride=2),
        nn.Flatten(),
        *(nn.Linear(128, 1024), relu(inplace=True), nn.Dropout(0.2)),
        *(nn.Linear(1024, 1024), relu(inplace=True), nn.Dropout(0.2)),
    )
    return TutorialNet(trunk, 1024, heads=heads)


class PixelNet(TutorialNet):
    """A tutorial net on standardised pixels."""

    def normalise(self, views: Tensor) -> Tensor:
        """Standardise every view (N, 1, 48, 48) float32 in 0-255, same shape."""
        return standardise(views)


def mlp(heads: tuple[LabelSet, ...] = ONE_HEAD) -> TutorialNet:
    """The tutorials' multi-layer perceptron on pixels: 1024-512, 2,888,711 values for seven classes.

    Source: the five-class tutorial around `ferdata.csv`. It standardises each pixel over the training data; here each
    image is standardised, which needs no statistics at run time.

    Args:
        heads: One label set per head.

    Returns:
        The network with fresh weights; run on 48x48 crops.
    """
    trunk = nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(CROP_PX * CROP_PX, 1024), nn.ReLU(inplace=True)),
        *(nn.Linear(1024, 512), nn.ReLU(inplace=True)),
    )
    return PixelNet(trunk, 512, heads=heads)


class VggNet(MultiHeadNet):
    """VGG16's convolutions under mien's heads."""

    def normalise(self, views: Tensor) -> Tensor:
        """Repeat gray views (N, 1, v, v) in 0-255 over three channels and scale them as the ImageNet weights expect."""
        mean = torch.tensor(IMAGENET_MEAN, dtype=views.dtype, device=views.device)[:, None, None]
        deviation = torch.tensor(IMAGENET_DEVIATION, dtype=views.dtype, device=views.device)[:, None, None]
        return (views / 255.0 - mean) / deviation


def vgg16(heads: tuple[LabelSet, ...] = ONE_HEAD) -> VggNet:
    """VGG16 for transfer (Simonyan & Zisserman 2015): 14,714,688 values in the convolutions, one linear layer per head.

    `vgg_weights.load_imagenet_weights` fills and freezes the convolutions, so that 3,591 values are trained
    for seven classes and 2,565 for five. A 48x48 crop ends as one 512-vector.

    Args:
        heads: One label set per head.

    Returns:
        The network with fresh weights; run on 48x48 crops.
    """
    layers: list[nn.Module] = []
    channels = 3
    for width, repeats in VGG16_STAGES:
        for _ in range(repeats):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return VggNet(nn.Sequential(*layers), channels, heads=heads, view_px=CROP_PX, dropout=0.0)


NETS: dict[str, Callable[..., ExpressionNet]] = {
    "mien-b": mien_b,
    "mien-b2": mien_b2,
    "mien-b3": mien_b3,
    "mien-m": mien_m,
    "mien-s": mien_s,
    "mien-s2": mien_s2,
    "tutorial-two-dense": tutorial_two_dense,
    "tutorial-one-dense": tutorial_one_dense,
    "wide-5000": wide_cnn,
    "realtime": realtime_cnn,
    "mlp": mlp,
    "vgg16": vgg16,
}


def count_parameters(net: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def count_values(net: nn.Module) -> int:
    """Return the number of stored values as Keras totals them: parameters and running statistics."""
    statistics = sum(b.numel() for b in net.buffers() if b.is_floating_point())
    return sum(p.numel() for p in net.parameters()) + statistics
