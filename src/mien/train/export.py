"""From a trained network to the ONNX file that the runtime loads."""

import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from mien._version import __version__
from mien.datasets.dataset import CropDataset
from mien.datasets.duplicates import seen_in
from mien.datasets.fer2013 import is_fer2013_training
from mien.detect.align import TEMPLATE_PX
from mien.errors import InputError, check_known
from mien.evaluate.calibrate import LEAST_IMAGES, LEAST_SPREAD, ConfidenceScaling, fit_confidence
from mien.faces import CROP_PX, Floats
from mien.files import write_whole
from mien.labels import FERPLUS8
from mien.models.card import METADATA_KEY, Measured, ModelCard
from mien.models.combined import CONTEMPT, CombinedRule
from mien.models.expression import INPUT_NAME, ExpressionModel
from mien.train._quiet import quiet
from mien.train.augment import central_views
from mien.train.checkpoints import load_confidence, load_nets, load_settings
from mien.train.combined import append_combined, combined_card
from mien.train.folding import folded
from mien.train.nets.blocks import ExpressionNet
from mien.train.settings import TrainSettings
from mien.train.targets import HeadTargets, head_targets

OPSET = 18
PRECISIONS = ("fp16", "fp32", "int8")
HALF_FROM_ELEMENTS = 256  # smaller tensors (biases, gates) stay in single precision
INT8_FROM_ELEMENTS = {"Conv": 4096, "Gemm": 65_536, "MatMul": 65_536}  # small layers cost little and err most
INT8_CROPS = 512  # crops that show the range of every activation
FER2013_TEXT = "FER2013 Training (28,709 crops; Goodfellow et al. 2013)"
VOTES_TEXT = " with the FER+ votes (Barsoum et al. 2016, MIT)"


class InferenceGraph(nn.Module):
    """What is exported: preprocessing, network, temperature and softmax, from crops to probabilities."""

    def __init__(
        self, net: ExpressionNet, scalings: Sequence[ConfidenceScaling] | None = None, *, precision: str = "fp16"
    ) -> None:
        """Fold batch normalisation and round the weights to what the file will hold.

        Args:
            net: A trained network; it is not changed.
            scalings: One per head, in their order; None leaves the logits alone.
            precision: `"fp16"` rounds large weights to half precision; the others do not.
        """
        super().__init__()
        self.net = folded(net)
        self.scalings = scalings or [ConfidenceScaling()] * len(net.heads)
        for parameter in self.net.parameters() if precision == "fp16" else ():
            if parameter.numel() >= HALF_FROM_ELEMENTS:
                parameter.data = parameter.data.half().float()

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """Return the probabilities of every head.

        Args:
            crops: (N, 48, 48) uint8 gray.

        Returns:
            One (N, C) float32 tensor per head, rows sum to 1.
        """
        return tuple(_scaled(z, s).softmax(dim=1) for z, s in zip(self.logits(crops), self.scalings, strict=True))

    def logits(self, crops: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of every head, not scaled: one (N, C) float32 tensor each.

        Args:
            crops: (N, 48, 48) uint8 gray.
        """
        logits: tuple[Tensor, ...] = self.net(self.net.normalise(central_views(crops, self.net.view_px)))
        return logits


def _scaled(logits: Tensor, scaling: ConfidenceScaling) -> Tensor:
    """Divide logits as `ConfidenceScaling.probs` does."""
    if not scaling.exponent:
        return logits / scaling.temperature
    centred = logits - logits.mean(dim=1, keepdim=True)
    spread = centred.square().mean(dim=1, keepdim=True).sqrt().clamp(min=LEAST_SPREAD)
    return centred / (scaling.temperature * spread**scaling.exponent)


def export_onnx(
    net: ExpressionNet,
    path: Path,
    *,
    card: ModelCard,
    scalings: Sequence[ConfidenceScaling] | None = None,
    precision: str = "fp16",
    calibration: NDArray[np.uint8] | None = None,
) -> None:
    """Write a network as one ONNX file: `crops` (N, 48, 48) uint8 in, one (N, C) float32 per head out.

    Args:
        net: A trained network.
        path: The file to write; it appears whole or not at all.
        card: What is known about the model; stored in the file's metadata.
        scalings: One per head; None leaves the probabilities uncalibrated.
        precision: `"fp16"` stores the weights in half and computes in single precision; `"fp32"` stores single
            precision; `"int8"` computes the large layers in eight bits, one scale per channel, and stores the weights
            of the others in half precision.
        calibration: (N, 48, 48) uint8 real crops, which `"int8"` needs to see the range of every activation.

    Raises:
        InputError: The precision is unknown, or calibration crops are missing.
        OutputError: The file cannot be written.
    """
    _write(_build(net, scalings, precision, calibration), path, card)


def _build(
    net: ExpressionNet,
    scalings: Sequence[ConfidenceScaling] | None,
    precision: str,
    calibration: NDArray[np.uint8] | None,
) -> onnx.ModelProto:
    """Trace a network and store its weights in a precision; `_write` puts the result into a file."""
    check_known("precision", precision, PRECISIONS)
    if precision == "int8" and (calibration is None or not len(calibration)):
        raise InputError("int8 needs real crops to calibrate on; pass calibration (--data)")
    model = trace(InferenceGraph(net, scalings, precision=precision), [labels.key for labels in net.heads])
    if precision == "int8" and calibration is not None:
        model = _quantised(model, calibration)
    if precision != "fp32":
        store_half(model, least_dims=1 if precision == "fp16" else 2)  # the scales of int8 stay as they are
    model.producer_name = "mien"
    return model


def _write(model: onnx.ModelProto, path: Path, card: ModelCard) -> None:
    """Write a model with its card, which replaces one that it has already."""
    helper.set_model_props(model, {METADATA_KEY: card.text()})
    onnx.checker.check_model(model)
    write_whole(path, model.SerializeToString())


def trace(graph: nn.Module, outputs: list[str], *, side: int = CROP_PX) -> onnx.ModelProto:
    """Return the ONNX graph of a module that takes `crops` (N, side, side) uint8.

    Args:
        graph: The module.
        outputs: Names of what it returns.
        side: Side of the crops, pixels.
    """
    example = torch.zeros((2, side, side), dtype=torch.uint8)
    with _without_chatter():
        program: Any = torch.onnx.export(
            graph.eval(), (example,), dynamo=True, opset_version=OPSET, verbose=False,
            input_names=[INPUT_NAME], output_names=outputs, dynamic_shapes={"crops": {0: torch.export.Dim("batch")}},
        )  # fmt: skip
        buffer = io.BytesIO()
        program.save(buffer)
    model = onnx.load_from_string(buffer.getvalue())
    for node in model.graph.node:
        node.ClearField("metadata_props")  # stack traces of the exporting machine
        node.ClearField("doc_string")
    return model


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Silence, within the block, exporters that warn about packages mien does not use and advise on their options."""
    with quiet((None, "torch.onnx"), logging.ERROR):  # the root is onnxruntime's quantization
        warnings.simplefilter("ignore")
        yield


def store_half(model: onnx.ModelProto, *, least_dims: int) -> None:
    """Store large weights as float16 and cast them back when the file is loaded.

    Args:
        model: Changed in place.
        least_dims: Weights of fewer dimensions stay as they are.
    """
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < least_dims:
            continue
        if np.prod(tensor.dims) < HALF_FROM_ELEMENTS:
            continue
        name = tensor.name
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}_half")
        tensor.CopyFrom(half)
        casts.append(helper.make_node("Cast", [half.name], [name], name=f"{name}_cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


class _Crops:
    """Hands real crops to the quantizer, batch by batch."""

    def __init__(self, crops: NDArray[np.uint8]) -> None:
        chosen = np.linspace(0, len(crops) - 1, min(len(crops), INT8_CROPS)).astype(int)
        self.batches = iter(np.array_split(crops[chosen], -(-len(chosen) // 64)))

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self.batches, None)
        return None if batch is None else {INPUT_NAME: batch}


def _quantised(model: onnx.ModelProto, crops: NDArray[np.uint8]) -> onnx.ModelProto:
    with _without_chatter(), tempfile.TemporaryDirectory() as folder:
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        whole, small = Path(folder, "whole.onnx"), Path(folder, "small.onnx")
        onnx.save(model, whole)
        quantize_static(
            str(whole), str(small), _Crops(crops), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, nodes_to_quantize=_large_layers(model),
            calibrate_method=CalibrationMethod.MinMax,
            reduce_range=True,  # eight-bit products overflow on processors without VNNI
        )  # fmt: skip
        return onnx.load(small)


def _large_layers(model: onnx.ModelProto) -> list[str]:
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if max((sizes.get(name, 0) for name in node.input), default=0) >= INT8_FROM_ELEMENTS.get(node.op_type, 2**62)
    ]


def calibrate_and_export(
    checkpoints: Sequence[Path],
    path: Path,
    *,
    validation: CropDataset,
    training: CropDataset,
    name: str = "custom",
    version: str = "1",
    licence: str = "not stated",
    data_name: str | None = None,
    precision: str = "fp16",
    combined: bool = False,
) -> ModelCard:
    """Fit the confidence of each head on the validation split, measure the exported network, and write its ONNX file.

    With fewer than `LEAST_IMAGES` labelled images a head keeps the confidence of the model its run started from, or the
    logits as they are; the card says so.

    Args:
        checkpoints: A checkpoint of `fit`, or several of networks with the same classes: they answer together, by the
            mean of their probabilities.
        path: The ONNX file to write; its card appears beside it as Markdown.
        validation: Split that calibrates and measures, with what the heads of the checkpoints were trained on.
        training: Split whose pixel-identical copies are left out for the second accuracy of each head; `"int8"` is
            calibrated on it.
        name: Name for the card.
        version: Version of the weights for the card.
        licence: Licence of the weights for the card.
        data_name: What the weights were trained on, for the card; None describes `training`.
        precision: `"fp16"`, `"fp32"` or `"int8"`, as for `export_onnx`.
        combined: Add the combined answer of the heads `fer2013` and `ferplus` as a third output.

    Returns:
        The card that is in the file, with the accuracies of the file itself.

    Raises:
        InputError: The data have other classes than the checkpoints, or these differ in classes or views.
        OutputError: A file cannot be written.
    """
    net, runs = load_nets(checkpoints), [load_settings(checkpoint) for checkpoint in checkpoints]
    targets = _targets_of(net, validation, runs[0])
    logits = torch_logits(net, validation.crops, precision=precision)
    before = load_confidence(checkpoints[0]) if len(checkpoints) == 1 else {}
    scalings = [_confidence(z, head, before) for z, head in zip(logits, targets, strict=True)]
    kept = _kept_confidence(targets, before)
    card = ModelCard(
        name=name,
        version=version,
        heads={labels.key: labels.names for labels in net.heads},
        landmarks_px=tuple((round(float(x), 2), round(float(y), 2)) for x, y in TEMPLATE_PX),
        data=data_name or describe_data(training, runs[0]),
        licence=licence,
        temperatures={k.key: round(s.temperature, 4) for k, s in zip(net.heads, scalings, strict=True)},
        exponents={k.key: round(s.exponent, 4) for k, s in zip(net.heads, scalings, strict=True)},
        priors=dict(_assumed(_targets_of(net, training, runs[0]))),
        trained="; ".join([f"mien {__version__}: {_told(runs)}, {precision}", *kept]),
    )
    model = _build(net, scalings, precision, training.crops if precision == "int8" else None)
    with tempfile.TemporaryDirectory() as folder:
        unmeasured = Path(folder, "unmeasured.onnx")
        _write(model, unmeasured, card)
        card = replace(card, measured=_measure(ExpressionModel(unmeasured), validation, targets, training))
    if combined:
        append_combined(model, CombinedRule())
        card = combined_card(card, CombinedRule())
    _write(model, path, card)
    write_whole(path.with_suffix(".md"), card_markdown(card))
    return card


def _confidence(
    logits: NDArray[np.floating], head: HeadTargets, before: Mapping[str, tuple[float, float]]
) -> ConfidenceScaling:
    if (head.truth >= 0).sum() >= LEAST_IMAGES:
        return fit_confidence(logits, head.truth)
    return ConfidenceScaling(*before.get(head.labels.key, ()))


def _assumed(targets: Sequence[HeadTargets]) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the class shares of the training data, by head; contempt is too rare in the FER+ votes to be corrected."""
    for head in targets:
        shares = head.soft.sum(axis=0, dtype=np.float64)
        left_out = FERPLUS8.names[CONTEMPT] if head.labels == FERPLUS8 else ""
        found = {n: float(s) for n, s in zip(head.labels.names, shares, strict=True) if n != left_out}
        if all(share > 0 for share in found.values()):
            yield head.labels.key, {name: round(share / sum(found.values()), 5) for name, share in found.items()}


def _kept_confidence(targets: Sequence[HeadTargets], before: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    """Say of which heads the confidence was not fitted, and what they have instead."""
    for head in targets:
        count = int((head.truth >= 0).sum())
        if count < LEAST_IMAGES:
            instead = "that of the model it started from" if head.labels.key in before else "temperature 1"
            yield f"confidence of {head.labels.key} not fitted on {count} images (fewer than {LEAST_IMAGES}), {instead}"


def _told(runs: Sequence[TrainSettings]) -> str:
    told = " + ".join(run.told for run in runs)
    return told if len(runs) == 1 else f"{told}, their probabilities averaged"


def _targets_of(net: ExpressionNet, data: CropDataset, settings: TrainSettings) -> tuple[HeadTargets, ...]:
    targets = head_targets(data, settings)
    wanted, found = [h.names for h in net.heads], [head.labels.names for head in targets]
    if wanted != found:
        raise InputError(
            f"the checkpoint has {len(wanted)} head(s) {wanted}, the data give {found}; "
            "pass the data it was trained on, and --votes if it was trained with them"
        )
    return targets


def describe_data(training: CropDataset, settings: TrainSettings) -> str:
    """Return what a model was trained on, for its card.

    Args:
        training: The training split.
        settings: The run's settings.
    """
    with_votes = training.votes is not None and settings.targets != "labels"
    if is_fer2013_training(training):
        return FER2013_TEXT + (VOTES_TEXT if with_votes else "")
    return f"{len(training):,} crops with {len(training.labels)} classes, sha256 {training.digest()[:16]}"


def _measure(
    model: ExpressionModel, data: CropDataset, targets: tuple[HeadTargets, ...], training: CropDataset
) -> tuple[Measured, ...]:
    fresh = ~seen_in(data.crops, training.crops)
    source = "FER2013 " if is_fer2013_training(training) else ""
    measured = []
    for head, target in zip(model.card.heads, targets, strict=True):
        hit = model.predict_proba(data.crops, head=head).argmax(axis=1) == target.truth
        counted = target.truth >= 0
        for rule, chosen in (("", counted), (" without copies of Training crops", fresh & counted)):
            if chosen.any():
                split = f"{source}{data.usage[0]}{rule}"
                measured.append(Measured(head, split, int(chosen.sum()), round(float(hit[chosen].mean()), 5)))
    return tuple(measured)


def card_markdown(card: ModelCard) -> str:
    """Return a model's card as a page for people.

    Args:
        card: What the model's file says about itself.
    """
    rows = "\n".join(f"| {m.head} | {m.split} | {m.n:,} | {m.accuracy:.2%} |" for m in card.measured)
    heads = "\n".join(
        f"- `{key}`: {', '.join(names)} ({card.calibration_text(key)})" for key, names in card.heads.items()
    )
    assumed = "".join(f"\nThe answers of `{key}` assume the shares {card.shares_text(key)}.\n" for key in card.priors)
    return f"""# {card.name} {card.version}

An expression model in ONNX: `{INPUT_NAME}` (N, {CROP_PX}, {CROP_PX}) uint8 gray crops in, probabilities out;
preprocessing, temperature and softmax are inside the graph.

## Outputs

{heads}
{assumed}
## Measured

| output | images | N | accuracy |
|---|---|---|---|
{rows}

## Origin

- Trained on: {card.data}
- How: {card.trained}
- Licence of the weights: {card.licence}

## Limits

It names the expression a face shows, not what a person feels. Accuracy differs between groups of people, and falls with
blur, small faces, turned heads and covered mouths or eyes: measure it on your own images with `mien evaluate`.
"""


def torch_probs(
    net: ExpressionNet,
    crops: NDArray[np.uint8],
    scalings: Sequence[ConfidenceScaling] | None = None,
    *,
    precision: str = "fp16",
) -> tuple[Floats, ...]:
    """Return the probabilities that PyTorch computes for what `export_onnx` writes (for int8: before rounding).

    Args:
        net: A trained network.
        crops: (N, 48, 48) uint8.
        scalings: As for `export_onnx`.
        precision: As for `export_onnx`.

    Returns:
        One (N, C) float32 array per head.
    """
    return _in_batches(InferenceGraph(net, scalings, precision=precision).eval(), crops)


def torch_logits(net: ExpressionNet, crops: NDArray[np.uint8], *, precision: str = "fp16") -> tuple[Floats, ...]:
    """Return the logits from which `torch_probs` computes probabilities.

    Args:
        net: A trained network.
        crops: (N, 48, 48) uint8.
        precision: As for `export_onnx`.

    Returns:
        One (N, C) float32 array per head.
    """
    return _in_batches(InferenceGraph(net, precision=precision).eval().logits, crops)


def _in_batches(answer: Callable[[Tensor], tuple[Tensor, ...]], crops: NDArray[np.uint8]) -> tuple[Floats, ...]:
    with torch.inference_mode():
        parts = [answer(torch.from_numpy(crops[i : i + 256])) for i in range(0, len(crops), 256)]
    return tuple(torch.cat(head).numpy() for head in zip(*parts, strict=True))
