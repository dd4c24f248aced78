"""Each command that writes names what it wrote, also where a name holds what a terminal could read as markup."""

import numpy as np
import pytest
from conftest import EXAMPLES

from mien.datasets import CropDataset, write_dataset

PHOTO = EXAMPLES / "astronaut.jpg"
QUICK = ("--net", "tiny", "--batch-size", "12", "--epochs", 1, "--threads", "1", "--accelerator", "cpu")
PLAIN = (*QUICK, "--no-curves", "--no-tensorboard")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "a[x]"
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Seventy crops of smoothed noise, in two splits."""
    crops = np.random.default_rng(3).integers(0, 256, (70, 12, 12), dtype=np.uint8)
    crops = np.repeat(np.repeat(crops, 4, axis=1), 4, axis=2)
    usage = np.repeat(["Training", "PublicTest"], [49, 21])
    path = tmp_path_factory.mktemp("data") / "fer2013.csv"
    write_dataset(CropDataset(crops, np.tile(np.arange(7, dtype=np.int8), 10), usage), path)
    return path


@pytest.fixture
def writes(mien):
    """Run a command and check that it names these files, each of which is there, as the last lines that it says."""

    def run(*command, paths):
        code, _, said = mien(*command)
        assert code == 0, said
        assert [path for path in paths if f"wrote {path}" not in said or not path.exists()] == []

    return run


def test_analyze(writes, folder):
    table, image, results = folder / "a[x].csv", folder / "b[y].png", folder / "[red]"
    writes("analyze", PHOTO, "-o", table, "-o", image, "-o", f"{results}/", paths=[table, image, results])


def test_evaluate_and_compare(writes, folder, data):
    pytest.importorskip("matplotlib")
    answers, page, report = folder / "p[x].csv", folder / "c[x].html", folder / "r[x]"
    files = [report / f"report.{kind}" for kind in ("html", "json", "md")]
    writes("evaluate", "mien-b", data, "-o", report, "--predictions", answers, paths=[*files, answers])
    writes("compare", "mien-b", "mien-s", data, "-o", page, paths=[page])


def test_data(writes, folder, data):
    pytest.importorskip("matplotlib")
    copy, split, page = folder / "d[x].npz", folder / "s[x].csv", folder / "i[x].html"
    writes("data", "convert", data, copy, paths=[copy])
    writes("data", "split", "stratified", data, "-o", split, "--no-near", paths=[split])
    writes("data", "info", data, "--html", page, "--no-near", paths=[page])


def test_data_augment(writes, folder, data):
    pytest.importorskip("kornia")
    sheet = folder / "g[x].png"
    writes("data", "augment", data, "-o", sheet, "--rows", 1, "--tries", 1, paths=[sheet])


def test_models_diagram(writes, folder):
    pytest.importorskip("torch")
    drawing = folder / "net[x].svg"
    writes("models", "diagram", "mien-s", "-o", drawing, paths=[drawing])


def test_train_baseline(writes, folder, data):
    pytest.importorskip("scipy")
    models = folder / "m[x]"
    writes("train-baseline", data, "--model", "knn", "-o", models, paths=[models / "knn-pixels.npz"])


def test_train_and_export(writes, folder, data, tiny):
    run, model = folder / "run[x]", folder / "e[x].onnx"
    writes("train", data, "-o", run, *PLAIN, paths=[run / "model.onnx"])
    writes("export", run / "best.ckpt", "--data", data, "-o", model, paths=[model])


def test_live(writes, folder):
    pytest.importorskip("av")
    from videos import portraits, write_video

    video = write_video(folder / "portrait.mp4", portraits(10, scale=0.45))
    log = folder / "log[x].csv"
    writes("live", video, "--headless", "--log", log, paths=[log])
