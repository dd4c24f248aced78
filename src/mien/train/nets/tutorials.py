"""The networks of well-known tutorials on FER2013, as their authors built them in Keras."""

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from mien.faces import CROP_PX
from mien.labels import LabelSet
from mien.train.nets.blocks import ONE_HEAD, ExpressionNet, standardise

KERAS_EPS, KERAS_MOMENTUM = 1e-3, 0.01  # Keras writes the momentum as the share kept, 0.99


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
