import csv
import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import pytest
import typer
from typer.testing import CliRunner

from drawn_faces import drawn_faces
from helpers import run_cli
from mien.cli.options import with_groups
from mien.cli.train import command as commands
from mien.cli.train.options import DataOptions, RecipeOptions
from mien.datasets import (
    PUBLIC_TEST,
    TRAINING,
    VALIDATION,
    VOTE_COLUMNS,
    read_dataset,
    stratified_split,
    write_split,
)
from mien.errors import InputError
from mien.labels import FER7
from mien.models.catalogue import CATALOGUE
from mien.models.expression import ExpressionModel
from mien.train.checkpoints import load_net, load_settings
from mien.train.settings import TrainSettings

TESTS = os.pathsep.join(str(Path(__file__).parents[1] / folder) for folder in ("support", "train"))
pytestmark = pytest.mark.usefixtures("tiny")
QUICK = ("--net", "tiny", "--batch-size", "12", "--lr", "0.2", "--warmup", "0.5", "--ema", "0.8", "--threads", "1",
         "--accelerator", "cpu", "--no-curves", "--no-tensorboard")  # fmt: skip
PLAIN = tuple(
    part
    for name in ("rotate_deg", "scale", "contrast", "blur", "low_resolution", "noise", "erase", "mixup")
    for part in ("--set", f"augment.{name}=0")
)


@pytest.fixture(scope="module")
def app():
    made = typer.Typer(pretty_exceptions_enable=False)
    for command in (commands.train, commands.tune, commands.export):
        made.command()(command)
    return made


@pytest.fixture
def mien(app):
    def run(*arguments, fails=None):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if fails is None:
            if result.exception:
                raise result.exception
        else:
            assert isinstance(result.exception, InputError), result.exception
            assert fails in str(result.exception)
        return result.stdout

    return run


def write_fer2013(folder):
    """Write drawn faces as Kaggle's CSV and FER+'s votes; return both paths."""
    data = [drawn_faces(240), drawn_faces(60, seed=1, usage=PUBLIC_TEST)]
    faces, votes = folder / "fer2013.csv", folder / "fer2013new.csv"
    with faces.open("w", newline="") as first, votes.open("w", newline="") as second:
        table, ballots = csv.writer(first), csv.writer(second)
        table.writerow(["emotion", "pixels", "Usage"])
        ballots.writerow(["Usage", "Image name", *VOTE_COLUMNS])
        for split in data:
            for crop, label, row, usage in zip(split.crops, split.label, split.votes, split.usage, strict=True):
                table.writerow([label, " ".join(map(str, crop.ravel())), usage])
                ballots.writerow([usage, "", *row])
    return faces, votes


def write_folders(folder, count=120, names=FER7.names):
    data = drawn_faces(count)
    for number, (crop, label) in enumerate(zip(data.crops, data.label, strict=True)):
        place = folder / names[label]
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{number}.png"), crop)
    return folder


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    return write_fer2013(tmp_path_factory.mktemp("official"))


def test_train_on_the_official_files_leaves_a_whole_run(mien, official, tmp_path):
    faces, votes = official
    out = tmp_path / "run"
    said = mien("train", faces, "--votes", votes, "-o", out, "--epochs", 3, *QUICK, *PLAIN)
    lines = [line for line in said.splitlines() if line.startswith("epoch")]
    assert len(lines) == 3
    assert "left" in lines[0]
    assert "0:00:00 left" in lines[-1]
    names = {path.name for path in out.iterdir()}
    assert {"best.ckpt", "last.ckpt", "metrics.csv", "settings.json", "run.json", "model.onnx", "model.md"} <= names
    assert {"report-fer2013", "report-ferplus"} <= names
    model = ExpressionModel(out / "model.onnx")
    assert set(model.card.heads) == {"fer2013", "ferplus"}
    assert f"fer2013: {model.card.measured[0].accuracy:.2%} on PublicTest, N 60" in said
    assert model.card.measured[0].accuracy >= 0.8
    report = json.loads((out / "report-ferplus" / "report.json").read_text())
    assert report["overall"]["n"] == 60


def test_train_on_own_folders_holds_out_a_part(mien, tmp_path):
    folder = write_folders(tmp_path / "mine")
    out = tmp_path / "run"
    said = mien("train", folder, "-o", out, "--epochs", 3, "--val-share", 0.25, *QUICK, *PLAIN, "--classes",
                "happy,sad,surprise", "--class-weights", "balanced", "--focal", 1, "--patience", 5)  # fmt: skip
    assert "best checkpoint" in said
    net, settings = load_net(out / "best.ckpt"), load_settings(out / "best.ckpt")
    assert net.heads[0].names == ("happy", "sad", "surprise")
    assert (settings.class_weights, settings.focal_gamma, settings.patience) == ("balanced", 1.0, 5)
    record = json.loads((out / "run.json").read_text())["data"]
    assert record["validation"]["crops"] == 30
    assert record["validation"]["classes"]["happy"] == 10


def test_fine_tuning_a_shipped_model_takes_its_network(mien, tmp_path):
    folder = write_folders(tmp_path / "mine", 36)
    quick = [part for part in QUICK if part not in ("--net", "tiny")]
    mien("train", folder, "-o", tmp_path / "run", "--init", "mien-b", "--epochs", 1, *quick, *PLAIN, "--freeze",
         "--val-share", 0.3)  # fmt: skip
    assert load_settings(tmp_path / "run" / "best.ckpt").net == CATALOGUE["mien-b"].net
    mien("train", folder, "-o", tmp_path / "other", "--init", "mien-b", "--net", "mien-b", *quick, *PLAIN,
         fails="choose the network it was exported from")  # fmt: skip


def test_fine_tune_from_an_exported_model_on_own_folders(mien, official, tmp_path):
    faces, votes = official
    base, own = tmp_path / "base", tmp_path / "own"
    mien("train", faces, "--votes", votes, "-o", base, "--epochs", 3, *QUICK, *PLAIN)
    folder = write_folders(tmp_path / "mine", 60)
    mien("train", folder, "-o", own, "--init", base / "model.onnx", "--epochs", 1, *QUICK, *PLAIN, "--lr", 0,
         "--classes", "sad,happy", "--val-share", 0.3)  # fmt: skip
    with (own / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["val_acc_fer2013-2"]) >= 0.8


def test_resume_takes_its_settings_from_the_folder(mien, official, tmp_path):
    faces, _ = official
    out = tmp_path / "run"
    mien("train", faces, "-o", out, "--epochs", 1, *QUICK, *PLAIN, "--no-export")
    mien("train", faces, "-o", out, "--no-export", fails="holds a run")
    mien("train", faces, "-o", out, "--resume", "--epochs", 2, "--no-export", "--no-curves", "--no-tensorboard")
    assert load_settings(out / "last.ckpt").net == "tiny"
    assert len((out / "metrics.csv").read_text().splitlines()) == 3
    mien("train", faces, "-o", out, "--resume", "--lr", 0.3, fails="other settings (lr")
    mien("train", faces, "-o", tmp_path / "none", "--resume", fails="nothing to resume")


def test_recipe_options_and_assignments(tmp_path):
    recipe = tmp_path / "recipe.json"
    recipe.write_text('{"epochs": 7, "lr": 0.2, "augment": {"flip": 0.1}}')
    assignments = ["augment.mixup=0", "soft_votes=false", "clip_norm=1"]
    settings = RecipeOptions(recipe=recipe, assignments=assignments).settings({"lr": 0.3, "focal_gamma": None})
    assert (settings.epochs, settings.lr, settings.clip_norm, settings.soft_votes) == (7, 0.3, 1.0, False)
    assert (settings.augment.flip, settings.augment.mixup) == (0.1, 0.0)
    assert RecipeOptions().settings({}) == TrainSettings()
    for text, message in (
        ("lr", "name=value"), ("lr=fast", "a value like 0.1"), ("rate=1", "unknown setting 'rate'"),
        ("augment.zoom=1", "unknown setting 'zoom'"), ("net=3", None),
    ):  # fmt: skip
        if message:
            with pytest.raises(InputError, match=message):
                RecipeOptions(assignments=[text]).settings({})
        else:
            assert RecipeOptions(assignments=[text]).settings({}).net == "3"


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--merge", "fear"), "expression=expression"), (("--net", "nonsense"), "unknown net"),
     (("--classes", "bored,happy"), "cannot keep class 'bored'"), (("--optimizer", "lion"), "sgd, adam, adamw"),
     (("--validation", "Nowhere"), "no split 'Nowhere'"), (("--pretrained", "w.pth"), "choose one with --net"),
     (("--targets", "votes"), "--votes"), (("--precision", "64"), "unknown precision")],
)  # fmt: skip
def test_wrong_use_says_what_to_do(mien, official, tmp_path, options, message):
    mien("train", official[0], "-o", tmp_path / "run", *options, fails=message)
    assert not (tmp_path / "run").exists()


def test_split_file(mien, tmp_path):
    folder = write_folders(tmp_path / "mine", 60)
    data = read_dataset(folder).data
    dealt = stratified_split(data, shares={TRAINING: 0.5, VALIDATION: 0.5}, seed=3)
    path = write_split(tmp_path / "split.csv", data, dealt)
    training, held_out = DataOptions(split=path).read(folder, 0)
    assert len(training) == len(held_out) == 30
    assert len(DataOptions().read(folder, 0)[1]) == 6


def test_export_in_each_precision(mien, official, tmp_path):
    faces, votes = official
    out = tmp_path / "run"
    mien("train", faces, "--votes", votes, "-o", out, "--epochs", 2, *QUICK, *PLAIN, "--no-export")
    for precision in ("fp16", "int8"):
        path = tmp_path / f"{precision}.onnx"
        said = mien("export", out / "best.ckpt", "--data", faces, "--votes", votes, "-o", path, "--name", "drawn",
                    "--licence", "MIT", "--data-name", "drawn faces", "--precision", precision)  # fmt: skip
        assert "fer2013" in said
        card = ExpressionModel(path).card
        assert (card.name, card.licence, card.data) == ("drawn", "MIT", "drawn faces")
        assert card.trained.endswith(precision)
        assert path.with_suffix(".md").is_file()
    mien("export", out / "best.ckpt", "--data", faces, "-o", tmp_path / "x.onnx", fails="--votes")
    mien("export", out / "best.ckpt", "--data", faces, "-o", tmp_path / "x.bin", fails="must end in .onnx")
    mien("export", faces, "--data", faces, "-o", tmp_path / "x.onnx", fails="not a checkpoint")


OWN = ("", "", "", "Bored", "focused", "In Doubt", "")  # in place of happy, sad and surprise


def test_own_classes_go_all_the_way(mien, tmp_path, monkeypatch, capsys):
    folder = write_folders(tmp_path / "mine", count=240, names=OWN)
    said = mien("train", folder, "-o", tmp_path / "run", "--epochs", 4, *QUICK, *PLAIN)
    card = ExpressionModel(tmp_path / "run" / "model.onnx").card
    assert card.heads == {"own": ("bored", "focused", "in doubt")}
    assert f"own: {card.measured[0].accuracy:.2%} on Validation" in said
    assert (tmp_path / "run" / "report" / "report.json").is_file()
    model = tmp_path / "again.onnx"
    mien("export", tmp_path / "run" / "best.ckpt", "--data", folder, "-o", model, "--precision", "fp32")
    mien("train", folder, "-o", tmp_path / "further", "--init", model, "--net", "tiny", "--epochs", 1, *QUICK, *PLAIN)
    whole = run_cli(monkeypatch, capsys)
    code, out, err = whole("evaluate", model, folder, "--split", "Unsplit", "--json")
    report = json.loads(out)
    assert (code, report["overall"]["n"]) == (0, 240)
    assert report["overall"]["accuracy"]["value"] >= 0.9
    assert [c["name"] for c in report["classes"]] == ["bored", "focused", "in doubt"]
    image = next((folder / "Bored").iterdir())
    code, out, err = whole("analyze", image, "--model", model, "--detector", "none", "-o", tmp_path / "faces.csv")
    assert code == 0, err
    (row,) = csv.DictReader((tmp_path / "faces.csv").read_text().splitlines())
    assert row["expression"] == max(("bored", "focused", "in doubt"), key=lambda name: float(row[name]))


def test_own_classes_next_to_known_ones_are_named(mien, tmp_path, monkeypatch, capsys):
    folder = write_folders(tmp_path / "mine", names=("", "", "", "Happy", "focused", "Bored", ""))
    mien("train", folder, "-o", tmp_path / "no", *QUICK, fails="give all their names")
    labels = ("--labels", "happy,focused,bored")
    mien("train", folder, *labels, "-o", tmp_path / "run", "--epochs", 2, *QUICK, *PLAIN)
    model = tmp_path / "run" / "model.onnx"
    assert ExpressionModel(model).card.heads == {"own": ("happy", "focused", "bored")}
    code, out, err = run_cli(monkeypatch, capsys)("evaluate", model, folder, "--split", "Unsplit", "--json")
    assert code == 0, err
    assert json.loads(out)["overall"]["n"] == 120
    code, out, err = run_cli(monkeypatch, capsys)("compare", model, "mien-b", folder, "--split", "Unsplit")
    assert code == 2
    assert "mien-b does not answer with focused, bored; compare models on the same images and label set" in err


def test_export_says_what_it_needs(mien, tmp_path):
    mien("export", tmp_path / "best.ckpt", fails="give --data and -o FILE.onnx")
    mien("export", tmp_path / "x.onnx", "--data", tmp_path, "-o", tmp_path / "y.onnx", fails="is exported already")


def test_without_a_terminal_a_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(commands, "SILENCE_S", 0.0)
    with commands._watching(TrainSettings(epochs=10)) as watch:
        watch.step(5, 100)
        watch.step(15, 100)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("epoch 1/10: step 5 of 100, 0:00:0")
    assert second.startswith("epoch 2/10: step 15 of 100, 0:00:0")
    monkeypatch.setattr(commands, "SILENCE_S", 30.0)
    with commands._watching(TrainSettings(epochs=10)) as watch:
        watch.spoken -= 60.0  # a slow start: nobody knows yet how long a step takes
        watch.step(5, 100)
    assert not capsys.readouterr().err


def test_groups_of_options_become_options_of_their_own():
    @dataclass(frozen=True)
    class Group:
        size: Annotated[int, typer.Option(min=2)]
        name: Annotated[str, typer.Option("--called")] = "nobody"

    seen = []

    def command(first: str, group: Group, loud: bool = False) -> None:
        """Say something."""
        seen.append((first, group, loud))

    app = typer.Typer()
    app.command()(with_groups(command))
    for arguments, code in ((["x", "--size", "3", "--loud"], 0), (["x", "--size", "3", "--called", "me"], 0),
                            (["x"], 2), (["x", "--size", "1"], 2), (["--size", "3"], 2)):  # fmt: skip
        assert CliRunner().invoke(app, arguments).exit_code == code
    assert seen == [("x", Group(3), True), ("x", Group(3, "me"), False)]
    assert "Say something." in CliRunner().invoke(app, ["--help"]).stdout


def test_tune_prints_a_table_and_writes_a_recipe(mien, official, tmp_path):
    pytest.importorskip("optuna")
    out = tmp_path / "tune"
    said = mien("tune", official[0], "-o", out, "--net", "tiny", "--epochs", 1, "--trials", 2, "--search", "lr",
                "--accelerator", "cpu", "--threads", 1, "--set", "batch_size=24", *PLAIN)  # fmt: skip
    assert "trial 0: complete" in said
    assert "the best of 2 trials" in said
    assert json.loads((out / "best.json").read_text())["net"] == "tiny"
    assert "logarithmic" in mien("tune", official[0], "-o", out, "--space")
    mien("tune", official[0], "-o", out, "--search", "depth", fails="cannot search depth")


SCRIPT = """
    import os
    import sys
    sys.path[:0] = sys.argv.pop(1).split(os.pathsep)
    from drawn_faces import tiny_net
    from mien.cli import main
    from mien.train.nets.registry import NETS
    NETS["tiny"] = tiny_net
    main()
"""


@pytest.mark.slow
def test_ctrl_c_in_a_shell_keeps_everything(official, tmp_path):
    script, out = tmp_path / "command.py", tmp_path / "run"
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, str(script), TESTS, "train", str(official[0]), "-o", str(out), "--epochs", "500",
               "--no-export", *QUICK, *PLAIN]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("epoch   1/500")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "--resume goes on" in said
    assert "Traceback" not in said
    assert load_net(out / "last.ckpt").heads == (FER7,)
