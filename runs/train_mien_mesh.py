#!/usr/bin/env python3
"""Trains mien-mesh, which the wheel ships, from FER2013's Training crops and other faces without labels.

    mien models pull mesh
    python runs/train_mien_mesh.py fer2013.csv OUT [--pool faces.npz]

MediaPipe's face mesh (Apache-2.0) answers once; then a network of 1.3 MB learns its answers. A run that was stopped
goes on where it was. `faces.npz` holds `crops` (N, 64, 64) uint8 gray, the middle 48 px framed like FER2013's: 15,090
faces for the file that ships. About half an hour on two cores.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from mien._version import __version__
from mien.datasets import TRAINING, read_fer2013
from mien.train import mesh
from mien.train.hardware import best_precision

HELD_OUT = 1_500

parser = argparse.ArgumentParser()
parser.add_argument("data", type=Path)
parser.add_argument("out", type=Path)
parser.add_argument("--pool", type=Path)
parser.add_argument("--epochs", type=int, default=24)
parser.add_argument("--threads", type=int, default=2)
given = parser.parse_args()
given.out.mkdir(parents=True, exist_ok=True)
torch.set_num_threads(given.threads)

crops = mesh.wide_crops(read_fer2013(given.data).split(TRAINING).crops)
if given.pool:
    crops = np.concatenate([np.load(given.pool)["crops"], crops])
answers = given.out / "answers.npz"
if not answers.is_file():
    points, presence = mesh.teacher_answers(crops, progress=lambda n: n % 1000 or print(f"{n:,} of {len(crops):,}"))
    np.savez(given.out / "waiting.npz", points=points, presence=presence)
    (given.out / "waiting.npz").replace(answers)
stored = np.load(answers)
presence = stored["presence"]
faces, good = mesh.mesh_crops(crops, stored["points"], presence)
held = np.zeros(len(crops), bool)
held[np.random.default_rng(0).permutation(15_090 if given.pool else len(crops))[:HELD_OUT]] = True
training, held_out = faces.where(good & ~held), faces.where(good & held)
others = crops[(presence.max(axis=1) < mesh.NO_FACE) & ~held]
print(f"{len(training):,} to learn, {len(held_out):,} held out, {len(others):,} without a face")

begun = time.monotonic()
for done in mesh.fit_mesh(
    training, held_out, others, given.out / "mesh.pt", epochs=given.epochs, bfloat16="bf16" in best_precision("cpu")
):
    errors = done.errors
    print(
        f"epoch {done.epoch}: median error {errors.median():.2%} of the eye distance, "
        f"eyes {errors.median(mesh.EYES):.2%}, lips {errors.median(mesh.LIPS):.2%}; "
        f"a face in {(errors.presence > 0).mean():.1%}; {(time.monotonic() - begun) / 60:.0f} minutes",
        flush=True,
    )
mesh.export_mesh(
    done.net,
    given.out / "mien-mesh.onnx",
    about={
        "name": "mien-mesh",
        "version": "1",
        "licence": "Apache-2.0 as far as mien's authors can give it",
        "data": f"{len(training):,} faces (FER2013 Training, others in the wild) as MediaPipe's face mesh sees them",
        "trained": f"mien {__version__}: {given.epochs} epochs, seed 0; held out: median error {errors.median():.2%}",
    },
)
