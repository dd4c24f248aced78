"""From a trained network to the ONNX file that the runtime loads."""

import io
import json
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from mien import __version__
from mien.align import TEMPLATE_PX
from mien.datasets import CROP_PX, CropDataset, ferplus_majority, seen_in
from mien.errors import InputError, OutputError
from mien.evaluate import fit_temperature
from mien.models import METADATA_KEY, ExpressionModel, Measured, ModelCard
from mien.train.fit import load_net, load_settings
from mien.train.nets import MultiHeadNet, Standardise

OPSET = 18
HALF_FROM_ELEMENTS = 256  # smaller tensors (biases, gates) stay in single precision


@dataclass(frozen=True)
class Temperatures:
    """One softmax temperature per head, in the order of the network's heads; 1 leaves the logits alone."""

    values: tuple[float, ...]


class InferenceGraph(nn.Module):
    """What is exported: preprocessing, network, temperature and softmax, from crops to probabilities."""

    def __init__(self, net: MultiHeadNet, temperatures: Temperatures) -> None:
        """Fold batch normalisation and round the weights to what the file will hold.

        Args:
            net: A trained network; it is not changed.
            temperatures: One per head.
        """
        super().__init__()
        self.preprocess = Standardise(net.view_px)
        self.net = fuse(net.eval())
        self.temperatures = temperatures.values
        for parameter in self.net.parameters():
            if parameter.numel() >= HALF_FROM_ELEMENTS:
                parameter.data = parameter.data.half().float()

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """Return the probabilities of every head.

        Args:
            crops: (N, 48, 48) uint8 gray.

        Returns:
            One (N, C) float32 tensor per head, rows sum to 1.
        """
        logits = self.net(self.preprocess(crops))
        return tuple((z / t).softmax(dim=1) for z, t in zip(logits, self.temperatures, strict=True))


def export_onnx(net: MultiHeadNet, path: Path, *, card: ModelCard, temperatures: Temperatures | None = None) -> None:
    """Write a network as one ONNX file: `crops` (N, 48, 48) uint8 in, one (N, C) float32 per head out.

    Weights are stored in half precision and computed in single precision.

    Args:
        net: A trained network.
        path: The file to write; it appears whole or not at all.
        card: What is known about the model; stored in the file's metadata.
        temperatures: Softmax temperature per head; None leaves the probabilities uncalibrated.

    Raises:
        OutputError: The file cannot be written.
    """
    graph = InferenceGraph(net, temperatures or Temperatures((1.0,) * len(net.heads)))
    model = _trace(graph, [labels.key for labels in net.heads])
    _store_half(model)
    model.producer_name = "mien"
    helper.set_model_props(model, {METADATA_KEY: json.dumps(card.to_json(), ensure_ascii=False)})
    onnx.checker.check_model(model)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(model.SerializeToString())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path} ({error.strerror}); choose another place with -o") from error


def _trace(graph: InferenceGraph, outputs: list[str]) -> onnx.ModelProto:
    example = torch.zeros((2, CROP_PX, CROP_PX), dtype=torch.uint8)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about packages that mien does not use
        program = torch.onnx.export(
            graph.eval(), (example,), dynamo=True, opset_version=OPSET, verbose=False,
            input_names=["crops"], output_names=outputs, dynamic_shapes={"crops": {0: torch.export.Dim("batch")}},
        )  # fmt: skip
    program.save(buffer)
    model = onnx.load_from_string(buffer.getvalue())
    for node in model.graph.node:
        node.ClearField("metadata_props")  # stack traces of the exporting machine
        node.ClearField("doc_string")
    return model


def _store_half(model: onnx.ModelProto) -> None:
    """Store large weights as float16 and cast them back when the file is loaded."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < HALF_FROM_ELEMENTS:
            continue
        name = tensor.name
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}_half")
        tensor.CopyFrom(half)
        casts.append(helper.make_node("Cast", [half.name], [name], name=f"{name}_cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def calibrate_and_export(
    checkpoint: Path,
    path: Path,
    *,
    validation: CropDataset,
    training: CropDataset,
    name: str = "custom",
    version: str = "1",
    licence: str = "not stated",
) -> ModelCard:
    """Fit a temperature per head on the validation split, write the ONNX file, and measure that file.

    Args:
        checkpoint: A checkpoint of `fit`.
        path: The ONNX file to write.
        validation: Split with labels and votes that calibrates and measures.
        training: Split whose pixel-identical copies are left out for the second accuracy of each head.
        name: Name for the card.
        version: Version of the weights for the card.
        licence: Licence of the weights for the card.

    Returns:
        The card that is in the file, with the accuracies of the file itself.
    """
    net, settings = load_net(checkpoint), load_settings(checkpoint)
    targets = _targets(validation)
    temperatures = Temperatures(
        tuple(
            fit_temperature(np.log(np.maximum(probs, 1e-12))[target >= 0], target[target >= 0])
            for probs, target in zip(torch_probs(net, validation.crops), targets, strict=True)
        )
    )
    card = ModelCard(
        name=name,
        version=version,
        heads={labels.key: labels.names for labels in net.heads},
        landmarks_px=tuple((float(x), float(y)) for x, y in TEMPLATE_PX),
        data="FER2013 Training (28,709 crops; Goodfellow et al. 2013) with the FER+ votes (Barsoum et al. 2016, MIT)",
        licence=licence,
        temperatures={k.key: round(t, 4) for k, t in zip(net.heads, temperatures.values, strict=True)},
        trained=f"mien {__version__}: {settings.net}, {settings.epochs} epochs, seed {settings.seed}",
    )
    export_onnx(net, path, card=card, temperatures=temperatures)
    card = replace(card, measured=_measure(ExpressionModel(path), validation, targets, training))
    export_onnx(net, path, card=card, temperatures=temperatures)
    return card


def _targets(data: CropDataset) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    if data.votes is None:
        raise InputError("calibration needs the FER+ votes; pass --votes")
    return data.label, ferplus_majority(data.votes)


def _measure(
    model: ExpressionModel, data: CropDataset, targets: tuple[NDArray[np.int8], ...], training: CropDataset
) -> tuple[Measured, ...]:
    fresh = ~seen_in(data.crops, training.crops)
    measured = []
    for head, target in zip(model.card.heads, targets, strict=True):
        hit = model.predict_proba(data.crops, head=head).argmax(axis=1) == target
        for rule, counted in (("", target >= 0), (" without copies of Training crops", fresh & (target >= 0))):
            split = f"FER2013 {data.usage[0]}{rule}"
            measured.append(Measured(head, split, int(counted.sum()), round(float(hit[counted].mean()), 5)))
    return tuple(measured)


def torch_probs(net: MultiHeadNet, crops: NDArray[np.uint8], temperatures: Temperatures | None = None) -> tuple[NDArray[np.float32], ...]:
    """Return the probabilities that PyTorch computes for what `export_onnx` writes.

    Args:
        net: A trained network.
        crops: (N, 48, 48) uint8.
        temperatures: As for `export_onnx`.

    Returns:
        One (N, C) float32 array per head.
    """
    graph = InferenceGraph(net, temperatures or Temperatures((1.0,) * len(net.heads))).eval()
    with torch.inference_mode():
        parts = [graph(batch) for batch in torch.from_numpy(crops).split(256)]
    return tuple(torch.cat(head).numpy() for head in zip(*parts, strict=True))
