"""Small drawn faces that a small network tells apart: tests train on them in seconds."""

from dataclasses import replace

import cv2
import numpy as np
from torch import nn

from mien.datasets import TRAINING, VALIDATION, VOTE_COLUMNS, CropDataset
from mien.labels import FER7, FERPLUS8
from mien.models.card import ModelCard
from mien.train.nets.blocks import ConvUnit, MultiHeadNet

SHAPES = ("happy", "sad", "surprise")
NAMES = {"happy": "happiness", "sad": "sadness", "surprise": "surprise"}


def draw_face(expression, rng):
    """Draw one face: a smile, a frown or an open mouth, with a head, light and place that vary."""
    light, dark = int(rng.integers(160, 230)), int(rng.integers(10, 60))
    x, y = (int(v) for v in rng.integers(22, 27, 2))
    image = np.full((48, 48), int(rng.integers(60, 120)), np.uint8)
    cv2.circle(image, (x, y), 20, light, -1)
    for side in (-7, 7):
        cv2.circle(image, (x + side, y - 6), 2, dark, -1)
    if expression == "surprise":
        cv2.ellipse(image, (x, y + 9), (5, 7), 0, 0, 360, dark, -1)
    elif expression == "happy":
        cv2.ellipse(image, (x, y + 3), (12, 11), 0, 0, 180, dark, 3)
    else:
        cv2.ellipse(image, (x, y + 16), (12, 11), 0, 180, 360, dark, 3)
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def drawn_faces(count, *, seed=0, votes=True, labels=FER7, usage=TRAINING, shapes=SHAPES):
    """Return `count` faces in turn of each shape; the votes are mostly for the shape drawn."""
    rng = np.random.default_rng(seed)
    expressions = [shapes[i % len(shapes)] for i in range(count)]
    table = np.zeros((count, len(VOTE_COLUMNS)), np.uint8)
    for row, expression in enumerate(expressions):
        table[row, VOTE_COLUMNS.index(NAMES[expression])] = 8
        table[row, VOTE_COLUMNS.index("neutral")] = 2
    return CropDataset(
        np.stack([draw_face(e, rng) for e in expressions]),
        np.array([labels.index(e) for e in expressions], np.int8),
        np.full(count, usage),
        labels,
        votes=table if votes else None,
    )


def training_and_held_out(*, votes=True, count=240):
    """Return faces to train on and others to validate on."""
    training = drawn_faces(count, votes=votes)
    return training, drawn_faces(90, seed=1, votes=votes, usage=VALIDATION)


def card_of(net):
    """Return a card that says no more than a network's classes."""
    return ModelCard("test", "1", {labels.key: labels.names for labels in net.heads})


def without_votes(data):
    """Return the same data without votes."""
    return replace(data, votes=None)


assert FERPLUS8.index("neutral") == VOTE_COLUMNS.index("neutral")


def tiny_net(heads=(FER7,)):
    """Return a network of 20,000 parameters that learns the drawn faces in a few epochs."""
    trunk = nn.Sequential(ConvUnit(1, 16, stride=2), ConvUnit(16, 32, stride=2), ConvUnit(32, 48, stride=2))
    return MultiHeadNet(trunk, 48, heads=heads, view_px=44, dropout=0.1)


def plain_net(heads=(FER7,)):
    """Return a network without anything random (not even the place of the view) and without statistics over a batch."""
    layers = [nn.Conv2d(1, 8, 3, stride=3), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU()]
    return MultiHeadNet(nn.Sequential(*layers), 16, heads=heads, view_px=48, dropout=0.0)
