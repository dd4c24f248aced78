"""`mien models nets`, `summary` and `diagram`, and `mien train-baseline`."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from mien.cli.console import errors, out, print_json, say_written
from mien.cli.options import DataArgument, JsonOption
from mien.datasets.dataset import CropDataset
from mien.datasets.policy import hold_out, training_and_validation
from mien.datasets.read import read_dataset
from mien.errors import require_extra
from mien.evaluate.evaluation import evaluate as evaluate_model
from mien.faces import Floats
from mien.labels import label_set

if TYPE_CHECKING:
    from mien.train.classical.baselines import BaselineSettings

NetArgument = Annotated[str, typer.Argument(help="A network (`mien models nets` lists them), or an .onnx file.")]
LabelsOption = Annotated[
    list[str] | None,
    typer.Option("--labels", help="Label set of a head: fer2013, ferplus or five; may be repeated."),
]


class BaselineModel(StrEnum):
    """Classical models, as `mien.train.classical.baselines.BASELINES` names them."""

    KNN = "knn"
    LOGISTIC = "logistic"
    SVM = "svm"
    MLP = "mlp"


class FeatureKind(StrEnum):
    """Features, as `mien.train.classical.baselines.FEATURES` names them."""

    PIXELS = "pixels"
    DISTANCES = "distances"


def nets(as_json: JsonOption = False) -> None:
    """List the networks that `mien train --net` knows, with their size."""
    require_extra("train", "torch")
    from mien.train.nets.registry import NETS
    from mien.train.show.layers import summarise_net

    found = [summarise_net(name) for name in NETS]
    if as_json:
        rows = [{"name": s.name, "parameters": s.parameters, "values": s.values, "macs": s.macs} for s in found]
        print_json(rows)
        return
    table = Table()
    table.add_column("network", no_wrap=True, style="bold")
    table.add_column("what it is")
    for heading in ("classes", "input", "values", "multiply-adds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for s in found:
        about = (NETS[s.name].__doc__ or "").strip().splitlines()[0].partition(":")[0].rstrip(".")
        classes = " + ".join(map(str, s.heads.values()))
        table.add_row(s.name, about, classes, f"{s.input[-1]} px", f"{s.values:,}", f"{s.macs / 1e6:,.1f} M")
    out.print(table)


def summary(net: NetArgument, labels: LabelsOption = None, as_json: JsonOption = False) -> None:
    """Show the layers of a network or an ONNX file: shapes, parameters, multiply-adds."""
    require_extra("train", "torch")
    from mien.train.show.layers import summarise_net

    found = summarise_net(net, heads=labels)
    totals = {
        "parameters": found.parameters,
        "statistics": found.statistics,
        "values": found.values,
        "macs": found.macs,
    }
    if as_json:
        print_json({**asdict(found), **totals})
        return
    table = Table("layer", "kind", "", "output", title=f"{found.name}, input {' × '.join(map(str, found.input))}")
    for heading in ("parameters", "multiply-adds"):
        table.add_column(heading, justify="right")
    for layer in found.layers:
        shape = " × ".join(map(str, layer.output)) or "?"
        parameters = f"{layer.parameters:,}" if layer.parameters else ""
        table.add_row(layer.name, layer.kind, layer.detail, shape, parameters, f"{layer.macs:,}" if layer.macs else "")
    out.print(table)
    kept = f", {found.statistics:,} running statistics ({found.values:,} together)" if found.statistics else ""
    out.print(f"{found.parameters:,} parameters{kept}; {found.macs:,} multiply-adds for one face")


def diagram(
    net: NetArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .svg or .png file to write.")],
    labels: LabelsOption = None,
) -> None:
    """Draw a network or an ONNX file."""
    require_extra("train", "torch")
    from mien.train.show.diagram import save_diagram
    from mien.train.show.layers import summarise_net

    save_diagram(summarise_net(net, heads=labels), output)
    say_written(output)


def baseline(
    data: DataArgument,
    models: Annotated[
        list[BaselineModel] | None, typer.Option("--model", help="May be repeated; all by default.")
    ] = None,
    features: Annotated[FeatureKind, typer.Option(help="What the models look at.")] = FeatureKind.PIXELS,
    labels: Annotated[
        str | None, typer.Option("--labels", help="Label set to learn; the data's own by default.")
    ] = None,
    hold_out: Annotated[
        float | None,
        typer.Option(min=0.01, max=0.9, help="Measure on this random share of the training crops instead."),
    ] = None,
    neighbours: Annotated[int, typer.Option(min=1, help="Votes of knn.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Most passes of mlp.")] = 30,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    out_dir: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the models, as .npz files.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Fit classical models and measure them: nearest neighbours, logistic regression, linear SVM, MLP.

    They learn from Training and are measured on Validation, PublicTest or Test, whichever the data set has first;
    PrivateTest is never touched.
    """
    require_extra("train", "sklearn")
    from mien.train.classical.baselines import BaselineSettings

    training, held_out = _splits(read_dataset(data).data, hold_out, seed, labels)
    errors.print(f"{len(training):,} crops to learn from, {len(held_out):,} to measure on")
    settings = [
        BaselineSettings(m.value, features.value, neighbours=neighbours, epochs=epochs, seed=seed)
        for m in models or BaselineModel
    ]
    measured = []
    for row in _measure(training, held_out, settings, out_dir):
        errors.print(f"{row.model}: {row.accuracy:.2%}, fitted in {row.fit_cpu_s:.0f} s of CPU")
        measured.append(row)
    if as_json:
        print_json([asdict(row) for row in measured])
    else:
        out.print(_table(measured))


@dataclass(frozen=True)
class _BaselineRow:
    """The figures of one classical model; accuracies 0-1 with a 95 % interval, time in seconds of CPU."""

    model: str
    features: str
    labels: str
    seed: int
    n_training: int
    n: int
    accuracy: float
    low: float
    high: float
    macro_f1: float
    log_loss: float
    ece: float
    fit_cpu_s: float


def _measure(
    training: CropDataset, held_out: CropDataset, settings: "Sequence[BaselineSettings]", out_dir: Path | None
) -> Iterator[_BaselineRow]:
    """Compute the features once, then fit, measure and save one model after another."""
    from mien.train.classical.baselines import FEATURES, fit_baseline

    compute = FEATURES[settings[0].features].compute
    rows, held_out_rows = compute(training.crops), compute(held_out.crops)
    for one in settings:
        started = time.process_time()
        fitted = fit_baseline(training, one, rows=rows)
        spent = time.process_time() - started
        if out_dir is not None:
            out_dir.mkdir(parents=True, exist_ok=True)
            target = out_dir / f"{one.model}-{one.features}.npz"
            fitted.save(target)
            say_written(target)
        known = partial(_answer, fitted.predict_proba_of(held_out_rows))
        overall = evaluate_model(known, held_out, fitted.labels, batch_size=len(held_out)).overall
        yield _BaselineRow(
            one.model, one.features, fitted.labels.key, one.seed, len(training), overall.n, overall.accuracy.value,
            overall.accuracy.low, overall.accuracy.high, overall.macro_f1.value, overall.log_loss, overall.ece,
            round(spent, 1),
        )  # fmt: skip


def _answer(probs: Floats, _crops: NDArray[np.uint8]) -> Floats:
    return probs


def _splits(
    data: CropDataset, held_out_share: float | None, seed: int, labels: str | None
) -> tuple[CropDataset, CropDataset]:
    from mien.train.classical.baselines import in_labels

    if held_out_share is None:
        training, held_out = training_and_validation(data)
    else:
        training, held_out = hold_out(data, held_out_share, seed=seed, copies_together=False)
    wanted = training.labels if labels is None else label_set(labels)
    return in_labels(training, wanted), in_labels(held_out, wanted)


def _table(measured: list[_BaselineRow]) -> Table:
    table = Table("model", "features", "labels")
    for heading in ("accuracy", "95 % interval", "macro-F1", "log loss", "ECE", "N", "fit, CPU s"):
        table.add_column(heading, justify="right")
    for m in measured:
        table.add_row(
            m.model, m.features, m.labels, f"{m.accuracy:.2%}", f"{m.low:.1%}–{m.high:.1%}", f"{m.macro_f1:.3f}",
            f"{m.log_loss:.3f}", f"{m.ece:.3f}", f"{m.n:,}", f"{m.fit_cpu_s}",
        )  # fmt: skip
    return table
