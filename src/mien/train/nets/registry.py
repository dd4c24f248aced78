"""The one list of networks that can be trained, by name.

A network's `normalise` turns gray views (N, 1, v, v) float32 in 0-255 into what its `forward` takes; `forward` returns
one logits tensor per head, in the order of `heads`. Any tuple of label sets makes heads: seven classes, five, both.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mien.errors import InputError, check_known, shown
from mien.labels import LabelSet
from mien.train.nets.blocks import ExpressionNet
from mien.train.nets.faces import face_dlib, face_hse, load_face_dlib, load_face_hse
from mien.train.nets.mien import mien_b, mien_b2, mien_b3, mien_m, mien_s, mien_s2
from mien.train.nets.tutorials import mlp, realtime_cnn, tutorial_one_dense, tutorial_two_dense, wide_cnn
from mien.train.nets.vgg import load_imagenet_weights, vgg16

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
    "face-dlib": face_dlib,
    "face-hse": face_hse,
}
PRETRAINED: dict[str, Callable[[Any, Path], None]] = {
    "vgg16": load_imagenet_weights,
    "face-dlib": load_face_dlib,
    "face-hse": load_face_hse,
}
"""What fills a network, by its name, with weights of another origin: called with the fresh network and their place."""


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


def pretrained_loader(name: str, place: Path | None) -> Callable[[ExpressionNet], None]:
    """Return what fills a fresh network with weights of another origin.

    Args:
        name: A name in `NETS`.
        place: File or folder of the weights; None leaves the network as it is.

    Raises:
        InputError: There are no such weights for this network.
    """
    if place is None:
        return lambda _: None
    if name not in PRETRAINED:
        raise InputError(
            f"weights of another origin fill {', '.join(PRETRAINED)}, not {shown(name)}; choose one with --net"
        )
    return lambda net: PRETRAINED[name](net, place)
