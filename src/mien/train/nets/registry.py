"""The one list of networks that can be trained, by name.

A network's `normalise` turns gray views (N, 1, v, v) float32 in 0-255 into what its `forward` takes; `forward` returns
one logits tensor per head, in the order of `heads`. Any tuple of label sets makes heads: seven classes, five, both.
"""

from collections.abc import Callable

from mien.errors import check_known
from mien.labels import LabelSet
from mien.train.nets.blocks import ExpressionNet
from mien.train.nets.mien import mien_b, mien_b2, mien_b3, mien_m, mien_s, mien_s2
from mien.train.nets.tutorials import mlp, realtime_cnn, tutorial_one_dense, tutorial_two_dense, wide_cnn
from mien.train.nets.vgg import vgg16

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


def create_net(name: str, heads: tuple[LabelSet, ...]) -> ExpressionNet:
    """Return a network with fresh weights.

    Args:
        name: A name in `NETS`.
        heads: One label set per head.

    Raises:
        InputError: There is no such network; the message lists the known ones.
    """
    check_net(name)
    return NETS[name](heads)


def check_net(name: str) -> None:
    """Refuse a name that `NETS` lacks.

    Args:
        name: The name.

    Raises:
        InputError: There is no such network; the message lists the known ones.
    """
    check_known("net", name, NETS)
