"""Whether accuracy rises with `quality`: faces with known labels, clean and spoilt, sorted into tenths by quality.

    python benchmarks/quality.py ../shared/data/faces/dev.npz

Each face is taken clean and three times spoilt, by one of all kinds and strengths of `mien.evaluate.corruptions`, drawn
with the seed. The weights of `mien.attributes.quality` were fitted on the faces of even number (`--fit` prints them
anew); the table shows the odd ones.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from mien.attributes.geometry import pose_of, rotations
from mien.attributes.mesh import AUTO, FaceMesh
from mien.attributes.quality import EYE_DISTANCE_PX, PENALTIES, penalties, quality_of
from mien.evaluate.corruptions import CORRUPTIONS, corrupt
from mien.faces import Faces
from mien.models.catalogue import DEFAULT_MODEL, load_model

CORE = slice(8, 56)  # the standard crop in the crops of 64 pixels
TENTHS, ROUNDS = 10, 3


def views(crops: NDArray[np.uint8], seed: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
    """Yield all crops clean, then spoilt, with the share of the resolution that is left."""
    rng = np.random.default_rng(seed)
    kinds = [(name, strength) for name, one in CORRUPTIONS.items() for strength in one.strengths[1:]]
    yield crops, np.ones(len(crops))
    for number in range(1, ROUNDS + 1):
        drawn, spoilt, left = rng.integers(0, len(kinds), len(crops)), crops.copy(), np.ones(len(crops))
        for k, (name, strength) in enumerate(kinds):
            if (drawn == k).any():
                spoilt[drawn == k] = corrupt(crops[drawn == k], name, strength, seed=number)
                left[drawn == k] = 1 - strength if name == "low-resolution" else 1
        yield spoilt, left


def fitted(told: NDArray[np.float64], right: NDArray[np.bool_], sets: NDArray[np.str_]) -> NDArray[np.float64]:
    """Return weights of at least 0 for the penalties: a logistic regression with a constant per set of faces."""
    constant = np.stack([sets == name for name in np.unique(sets)], axis=1).astype(float)
    count = constant.shape[1]

    def loss(given: NDArray[np.float64]) -> float:
        logit = constant @ given[:count] - told @ given[count:]
        return float(np.logaddexp(0, np.where(right, -logit, logit)).mean() + 1e-4 * (given[count:] ** 2).sum())

    bounds = [(None, None)] * count + [(0, 6)] * told.shape[1]
    return np.asarray(minimize(loss, np.zeros(count + told.shape[1]), method="L-BFGS-B", bounds=bounds).x[count:])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faces", help="dev.npz: crops (N, 64, 64), label, set")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--mesh", default=AUTO)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fit", action="store_true", help="fit the weights anew and use them")
    given = parser.parse_args()
    with np.load(given.faces) as file:
        crops, labels, sets = np.ascontiguousarray(file["crops"][:, CORE, CORE]), file["label"], file["set"]
    model, mesh = load_model(given.model), FaceMesh(given.mesh)
    names = np.array(model.card.label_set(None).names)
    whole = Faces(np.array([[0, 0, crops.shape[1], crops.shape[2]]], np.float32), np.ones(1, np.float32))
    told, right = [], []
    for spoilt, left in views(crops, given.seed):
        found = [mesh.find(np.repeat(crop[..., None], 3, axis=2), whole, framed=True) for crop in spoilt]
        points = np.concatenate([one.points for one in found])
        presence = np.concatenate([one.presence for one in found])
        told.append(penalties(spoilt, EYE_DISTANCE_PX * left, pose_of(rotations(points)), presence))
        right.append(names[model.predict_proba(spoilt).argmax(axis=1)] == labels)
    all_told, all_right, all_sets = np.concatenate(told), np.concatenate(right), np.tile(sets, ROUNDS + 1)
    odd = np.tile(np.arange(len(crops)) % 2 == 1, ROUNDS + 1)
    weights = None
    if given.fit:
        weights = fitted(all_told[~odd], all_right[~odd], all_sets[~odd])
        print("weights:", dict(zip(PENALTIES, weights.round(2).tolist(), strict=True)))
    quality = quality_of(all_told, weights=weights)
    print(f"model {model.sha256[:8]}, mesh {mesh.name}, seed {given.seed}, {odd.sum()} crops of {odd.sum() // 4} faces")
    print("tenth  quality  accuracy")
    order = np.flatnonzero(odd)[np.argsort(quality[odd], kind="stable")]
    for number, part in enumerate(np.array_split(order, TENTHS), 1):
        print(f"{number:5}  {quality[part].mean():7.2f}  {all_right[part].mean():8.1%}")


if __name__ == "__main__":
    main()
