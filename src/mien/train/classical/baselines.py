"""Classical models on pixels or on distances between landmarks: nearest neighbours, logistic regression, SVM, MLP.

A `Baseline` answers `predict_proba(crops)` like every other model. Its file holds arrays and JSON; nothing is pickled.
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mien.datasets.dataset import CropDataset
from mien.errors import InputError, MissingExtraError, ModelError, check_known, listed, require_extra, shown
from mien.evaluate.calibrate import fit_temperature
from mien.evaluate.evaluation import truth_of
from mien.faces import CROP_PX, Floats
from mien.files import whole_or_nothing
from mien.labels import LabelSet
from mien.train.classical.distances import DISTANCE_NAMES, crop_distances

Array = NDArray[Any]
Arrays = dict[str, Array]

FORMAT = "mien-baseline-1"
HIDDEN = (1024, 512)
SVM_EPOCHS = 20
HELD_OUT = 0.1  # share of the training crops that calibrates the SVM and stops the MLP
ABSENT_LOGIT = -30.0  # of a class without a training crop


@dataclass(frozen=True)
class BaselineSettings:
    """Everything that decides how a classical model is fitted; saved with it.

    Attributes:
        model: Name in `BASELINES`.
        features: Name in `FEATURES`.
        neighbours: Votes of the nearest neighbours.
        strength: Inverse of the L2 penalty of logistic regression and SVM.
        epochs: Most passes of the MLP over the training crops.
        lr: Step size of the MLP.
        seed: Seed of everything random.
    """

    model: str = "knn"
    features: str = "pixels"
    neighbours: int = 3
    strength: float = 1e-3
    epochs: int = 30
    lr: float = 1e-4
    seed: int = 0

    def __post_init__(self) -> None:
        """Check names and ranges."""
        check_known("model", self.model, BASELINES)
        check_known("features", self.features, FEATURES)
        if self.neighbours < 1 or self.epochs < 1:
            raise InputError(f"neighbours and epochs must be at least 1, got {self.neighbours} and {self.epochs}")
        if self.strength <= 0 or self.lr <= 0:
            raise InputError(f"strength and lr must be above 0, got {self.strength} and {self.lr}")


@dataclass(frozen=True)
class Features:
    """A way to turn crops into rows of numbers.

    Attributes:
        compute: (N, 48, 48) uint8 → (N, F).
        names: The F names.
    """

    compute: Callable[[NDArray[np.uint8]], Array]
    names: tuple[str, ...]


PIXEL_NAMES = tuple(f"pixel_{y}_{x}" for y in range(CROP_PX) for x in range(CROP_PX))


def pixels(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the pixels of crops (N, 48, 48) uint8 row by row: (N, 2304) uint8."""
    return crops.reshape(len(crops), len(PIXEL_NAMES))


FEATURES = {"pixels": Features(pixels, PIXEL_NAMES), "distances": Features(crop_distances, DISTANCE_NAMES)}


@dataclass(frozen=True, eq=False)
class FeatureScaling:
    """Zero mean and unit deviation for each feature over the training crops.

    Attributes:
        mean: (F,) float32.
        deviation: (F,) float32, 1 where a feature is constant.
    """

    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, x: Array) -> Self:
        """Measure rows (N, F)."""
        deviation = x.std(axis=0, dtype=np.float64)
        deviation[deviation < 1e-6] = 1.0
        return cls(x.mean(axis=0, dtype=np.float64).astype(np.float32), deviation.astype(np.float32))

    def __call__(self, x: Array) -> Floats:
        """Scale rows (N, F), float32."""
        return np.asarray((x.astype(np.float32) - self.mean) / self.deviation, np.float32)


@dataclass(frozen=True, eq=False)
class NeighbourVotes:
    """The nearest training crops vote (Cover & Hart 1967); probabilities are shares of votes.

    Attributes:
        scaling: Applied to both sides before the Euclidean distance.
        examples: (M, F) training rows, unscaled.
        label: (M,) int64 their classes.
        neighbours: Votes.
        classes: Number of classes.
    """

    scaling: FeatureScaling
    examples: Array
    label: NDArray[np.int64]
    neighbours: int
    classes: int

    def __post_init__(self) -> None:
        """Index the examples."""
        kind = require_extra("train", "sklearn.neighbors").NearestNeighbors
        index = kind(n_neighbors=min(self.neighbours, len(self.label)), algorithm="brute")
        object.__setattr__(self, "_index", index.fit(self.scaling(self.examples)))

    def predict_proba(self, x: Array) -> Floats:
        """Return the shares of votes of rows (N, F): (N, classes) float32."""
        nearest = self._index.kneighbors(self.scaling(x), return_distance=False)  # type: ignore[attr-defined]
        return np.asarray(np.eye(self.classes, dtype=np.float32)[self.label[nearest]].mean(axis=1), np.float32)

    def arrays(self) -> Arrays:
        """Return what a file must hold."""
        return {"examples": self.examples, "label": self.label}

    @classmethod
    def from_arrays(cls, scaling: FeatureScaling, arrays: Arrays, settings: BaselineSettings, classes: int) -> Self:
        """Rebuild from what `arrays` returned."""
        return cls(scaling, arrays["examples"], arrays["label"], settings.neighbours, classes)


@dataclass(frozen=True, eq=False)
class DenseLayers:
    """Linear layers with ReLU between them and a softmax: logistic regression, SVM and MLP alike.

    Attributes:
        scaling: Applied before the first layer.
        layers: Weights (inputs, outputs) and bias (outputs,) of each layer, float32.
        temperature: What the logits are divided by.
    """

    scaling: FeatureScaling
    layers: tuple[tuple[Floats, Floats], ...]
    temperature: float = 1.0

    def logits(self, x: Array) -> Floats:
        """Return the logits of rows (N, F), temperature not applied: (N, classes) float32."""
        value = self.scaling(x)
        for weights, bias in self.layers[:-1]:
            value = np.maximum(value @ weights + bias, 0)
        weights, bias = self.layers[-1]
        return value @ weights + bias

    def predict_proba(self, x: Array) -> Floats:
        """Return the probabilities of rows (N, F): (N, classes) float32."""
        z = self.logits(x) / np.float32(self.temperature)
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True), np.float32)

    def arrays(self) -> Arrays:
        """Return what a file must hold."""
        named = {f"weights_{i}": w for i, (w, _) in enumerate(self.layers)}
        named |= {f"bias_{i}": b for i, (_, b) in enumerate(self.layers)}
        return {**named, "temperature": np.array(self.temperature)}

    @classmethod
    def from_arrays(cls, scaling: FeatureScaling, arrays: Arrays, _settings: BaselineSettings, _classes: int) -> Self:
        """Rebuild from what `arrays` returned."""
        count = sum(name.startswith("weights_") for name in arrays)
        layers = tuple((arrays[f"weights_{i}"], arrays[f"bias_{i}"]) for i in range(count))
        return cls(scaling, layers, float(arrays["temperature"]))


Fitted = NeighbourVotes | DenseLayers


def fit_neighbours(x: Array, y: NDArray[np.int64], classes: int, settings: BaselineSettings) -> NeighbourVotes:
    """Keep rows (N, F) of classes `y` as examples."""
    return NeighbourVotes(FeatureScaling.of(x), x, y, settings.neighbours, classes)


def fit_logistic(x: Array, y: NDArray[np.int64], classes: int, settings: BaselineSettings) -> DenseLayers:
    """Fit multinomial logistic regression to rows (N, F) of classes `y`."""
    linear_model = require_extra("train", "sklearn.linear_model")
    scaling = FeatureScaling.of(x)
    model = linear_model.LogisticRegression(C=settings.strength, max_iter=1000, tol=1e-3)
    return DenseLayers(scaling, (_all_classes(model.fit(scaling(x), y), classes),))


def fit_svm(x: Array, y: NDArray[np.int64], classes: int, settings: BaselineSettings) -> DenseLayers:
    """Fit a linear SVM, one class against the rest, to rows (N, F) of classes `y`.

    Probabilities are a softmax of the margins; its temperature is fitted on a tenth of the rows that a first SVM did
    not see, the final SVM sees all.
    """
    first, rest = _held_out(y, settings.seed)
    temperature = fit_temperature(_fit_margins(x[first], y[first], classes, settings).logits(x[rest]), y[rest])
    return replace(_fit_margins(x, y, classes, settings), temperature=temperature)


def _fit_margins(x: Array, y: NDArray[np.int64], classes: int, settings: BaselineSettings) -> DenseLayers:
    """Minimise the hinge loss by averaged stochastic descent (Bottou 2010), `SVM_EPOCHS` passes."""
    linear_model = require_extra("train", "sklearn.linear_model")
    scaling = FeatureScaling.of(x)
    penalty = 1 / (settings.strength * len(x))
    model = linear_model.SGDClassifier(
        loss="hinge", alpha=penalty, average=True, max_iter=SVM_EPOCHS, tol=None, random_state=settings.seed
    )
    return DenseLayers(scaling, (_all_classes(model.fit(scaling(x), y), classes),))


def _held_out(y: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of nine tenths and of one tenth of the rows, at random."""
    order = np.random.default_rng(seed).permutation(len(y))
    cut = max(1, round(HELD_OUT * len(y)))
    first, rest = order[cut:], order[:cut]
    if set(y[rest].tolist()) - set(y[first].tolist()) or len(set(y[first].tolist())) < 2:
        raise InputError(f"{len(y)} labelled crops are too few to hold a tenth out; give each class more of them")
    return first, rest


def _all_classes(model: Any, classes: int) -> tuple[Floats, Floats]:
    """Return weights and bias of a scikit-learn linear model with a column for every class, seen or not."""
    coefficients, intercept = model.coef_, np.atleast_1d(model.intercept_)
    if len(model.classes_) == 2:  # scikit-learn then keeps one column, of the second class
        coefficients, intercept = np.vstack([-coefficients, coefficients]) / 2, np.r_[-intercept, intercept] / 2
    weights = np.zeros((coefficients.shape[1], classes), np.float32)
    bias = np.full(classes, ABSENT_LOGIT, np.float32)
    weights[:, model.classes_], bias[model.classes_] = coefficients.T, intercept
    return weights, bias


def fit_mlp(x: Array, y: NDArray[np.int64], classes: int, settings: BaselineSettings) -> DenseLayers:
    """Fit the tutorials' perceptron (1024-512, ReLU) with Adam to rows (N, F) of classes `y`.

    It stops when a held-out tenth has not become better for three epochs, and keeps the best weights.
    """
    network = require_extra("train", "sklearn.neural_network")
    exceptions = require_extra("train", "sklearn.exceptions")
    scaling = FeatureScaling.of(x)
    batch = max(1, min(128, round((1 - HELD_OUT) * len(y)) - 1))
    model = network.MLPClassifier(
        HIDDEN, batch_size=batch, learning_rate_init=settings.lr, max_iter=settings.epochs,
        early_stopping=True, validation_fraction=HELD_OUT, n_iter_no_change=3, random_state=settings.seed,
    )  # fmt: skip
    _held_out(y, settings.seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", exceptions.ConvergenceWarning)  # `epochs` is a wish, not a failure
            model.fit(scaling(x), y)
    except ValueError as error:
        raise InputError(f"{len(y)} labelled crops are too few for the perceptron ({error}); give more") from error
    weights = [w.astype(np.float32) for w in model.coefs_]
    biases = [b.astype(np.float32) for b in model.intercepts_]
    head = _LastLayer(model.classes_, weights[-1].T, biases[-1])
    return DenseLayers(scaling, (*zip(weights[:-1], biases[:-1], strict=True), _all_classes(head, classes)))


@dataclass(frozen=True, eq=False)
class _LastLayer:
    classes_: NDArray[np.int64]
    coef_: Array
    intercept_: Array


BASELINES: dict[str, Callable[[Array, NDArray[np.int64], int, BaselineSettings], Fitted]] = {
    "knn": fit_neighbours,
    "logistic": fit_logistic,
    "svm": fit_svm,
    "mlp": fit_mlp,
}
KINDS: dict[str, type[NeighbourVotes] | type[DenseLayers]] = {
    "knn": NeighbourVotes, "logistic": DenseLayers, "svm": DenseLayers, "mlp": DenseLayers,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Baseline:
    """A fitted classical model.

    Attributes:
        settings: How it was fitted.
        labels: The label set of its probabilities.
        fitted: What was learned.
    """

    settings: BaselineSettings
    labels: LabelSet
    fitted: Fitted

    def predict_proba(self, crops: NDArray[np.uint8]) -> Floats:
        """Return the probabilities of crops.

        Args:
            crops: (N, 48, 48) uint8 gray.

        Returns:
            (N, len(labels)) float32, rows sum to 1.

        Raises:
            InputError: The crops have another shape or dtype.
        """
        if crops.ndim != 3 or crops.shape[1:] != (CROP_PX, CROP_PX) or crops.dtype != np.uint8:
            raise InputError(f"crops must be (N, 48, 48) uint8, got {crops.shape} {crops.dtype}; call align() first")
        return self.predict_proba_of(FEATURES[self.settings.features].compute(crops))

    def predict_proba_of(self, rows: Array) -> Floats:
        """Return the probabilities of crops whose features are known already.

        Args:
            rows: (N, F) as `FEATURES` computes them.

        Returns:
            (N, len(labels)) float32, rows sum to 1.
        """
        if not len(rows):
            return np.zeros((0, len(self.labels)), np.float32)
        return self.fitted.predict_proba(rows)

    def save(self, path: Path) -> None:
        """Write the model as an .npz file; it appears whole or not at all.

        Args:
            path: The file to write.

        Raises:
            OutputError: It cannot be written.
        """
        about = {
            "format": FORMAT,
            "settings": asdict(self.settings),
            "labels": {"key": self.labels.key, "names": self.labels.names},
        }
        scaling = self.fitted.scaling
        arrays = {**self.fitted.arrays(), "mean": scaling.mean, "deviation": scaling.deviation}
        with whole_or_nothing(path) as part, part.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, about=np.array(json.dumps(about)), **arrays)


def load_baseline(path: Path) -> Baseline:
    """Read a model that `Baseline.save` wrote. Nothing in the file is executed.

    Args:
        path: The .npz file.

    Raises:
        ModelError: The file is missing or is not such a model.
        MissingExtraError: It holds nearest neighbours, and scikit-learn is not installed.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(str(arrays.pop("about")))
        if about["format"] != FORMAT:
            raise ValueError(f"its format is {shown(about['format'])}, not {FORMAT!r}")
        settings = BaselineSettings(**about["settings"])
        labels = LabelSet(about["labels"]["key"], tuple(about["labels"]["names"]))
        scaling = FeatureScaling(arrays.pop("mean"), arrays.pop("deviation"))
        return Baseline(settings, labels, KINDS[settings.model].from_arrays(scaling, arrays, settings, len(labels)))
    except MissingExtraError:
        raise
    except Exception as error:
        raise ModelError(f"{path} is not a model that `mien train-baseline` wrote ({error}); give its .npz") from error


def fit_baseline(data: CropDataset, settings: BaselineSettings | None = None, *, rows: Array | None = None) -> Baseline:
    """Fit a classical model to the labelled crops of a data set.

    Args:
        data: Training crops; those without a label are left out.
        settings: Which model on which features.
        rows: (N, F), the features of the crops where they are known already; None computes them.

    Returns:
        The fitted model, with the label set of the data.

    Raises:
        InputError: Fewer than two classes have a crop, too few crops, or rows of another number of crops.
        MissingExtraError: scikit-learn, or dlib for distances, is not installed.
    """
    settings = settings or BaselineSettings()
    if rows is None:
        rows = FEATURES[settings.features].compute(data.crops)
    if len(rows) != len(data):
        raise InputError(f"rows must hold the features of the {len(data)} crops, got {len(rows)}; compute them again")
    rows, data = rows[data.is_labelled], data.where(data.is_labelled)
    if len(set(data.label.tolist())) < 2:
        raise InputError("a classical model needs labelled crops of at least two classes; check the labels of the data")
    fitted = BASELINES[settings.model](rows, data.label.astype(np.int64), len(data.labels), settings)
    return Baseline(settings, data.labels, fitted)


def in_labels(data: CropDataset, labels: LabelSet) -> CropDataset:
    """Return the crops whose expression a label set knows, labelled in that set.

    Args:
        data: Any data set.
        labels: The label set wanted, `FIVE` say.

    Raises:
        InputError: No crop has such a label.
    """
    truth = truth_of(data, labels)
    if not (truth >= 0).any():
        raise InputError(f"no crop has a label of {labels.key!r}; it has {listed(labels.names)}")
    known = data.where(truth >= 0)
    return replace(known, label=truth[truth >= 0].astype(np.int8), labels=labels)
