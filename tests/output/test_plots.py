import subprocess
import sys
import xml.etree.ElementTree as ET

import cv2
import matplotlib
import numpy as np
import pytest

from mien.errors import InputError, MissingExtraError, OutputError
from mien.labels import FER7
from mien.output import plots

NAMES = FER7.names


def texts(axes):
    return [t.get_text() for t in axes.texts]


def confusion():
    return plots.confusion_heatmap(np.diag(range(7)) + 1, NAMES, title="Confusion")


def reliability():
    nan = float("nan")
    return plots.reliability(
        (0, 0.25, 0.5, 0.75, 1), (0, 10, 20, 70), (nan, 0.4, 0.6, 0.9), (nan, 0.3, 0.7, 0.9), ece=0.03
    )


def risk():
    return plots.risk_coverage_curves({"one": ((0.5, 1), (0.1, 0.3)), "two": ((0.5, 1), (0.2, 0.4))})


def scores():
    return plots.class_scores(NAMES, [0.5] * 7, [0.4] * 7, [0.6] * 7, range(7))


def curves():
    panel = plots.CurvePanel("Blur", ("0", "1", "2"), {"a": (0.7, 0.6, 0.4), "b": (0.6, 0.5, 0.3)})
    return plots.robustness_curves([panel] * 7, title="Robustness")


def counts():
    return plots.class_counts(NAMES, {"Training": [10] * 7, "PublicTest": range(7)})


ROWS = [
    {"epoch": "0", "step": "9", "train_loss": "", "val_loss": "2.0", "val_acc_fer2013": "0.4", "lr-SGD": "0.1"},
    {"epoch": "0", "step": "9", "train_loss": "2.5", "val_loss": "", "val_acc_fer2013": "", "lr-SGD": ""},
    {"epoch": "1", "step": "19", "train_loss": "2.1", "val_loss": "1.8", "val_acc_fer2013": "0.6", "lr-SGD": "0.05"},
    {"epoch": "2", "step": "29", "train_loss": "1.9", "val_loss": "1.9", "val_acc_fer2013": "0.5", "lr-SGD": "0.01"},
]


def training():
    return plots.training_curves(ROWS, title="run")


def gallery():
    crops = np.random.default_rng(0).integers(0, 256, (8, 48, 48), np.uint8)
    probs = np.full((8, 7), 1 / 7, np.float32)
    return plots.gallery(crops, [f"face {i}" for i in range(8)], probs=probs, names=NAMES)


FIGURES = (confusion, reliability, risk, scores, curves, counts, training, gallery)


@pytest.mark.parametrize("draw", FIGURES)
def test_every_figure_becomes_an_image(draw, tmp_path):
    figure = draw()
    png = cv2.imread(str(plots.save_figure(figure, tmp_path / "f.png", dpi=60)))
    width, height = figure.get_size_inches()
    assert abs(png.shape[0] - 60 * height) <= 1
    assert abs(png.shape[1] - 60 * width) <= 1
    assert png.std() > 5, "not a blank page"
    assert (png[0, 0] == 255).all()
    ET.parse(plots.save_figure(figure, tmp_path / "f.svg"))


def test_confusion_shows_shares_of_each_label_and_counts():
    figure = plots.confusion_heatmap(np.array([[3, 1], [0, 0]]), ("a", "b"))
    assert texts(figure.axes[0]) == ["75%", "3", "25%", "1", "0%", "0", "0%", "0"]
    assert [p.get_alpha() for p in figure.axes[0].patches] == [0.75, 0.25, 0, 0]


def test_reliability_leaves_empty_bins_out_and_shows_the_share_of_images():
    top, bottom = reliability().axes
    assert [p.get_height() for p in top.patches[:3]] == [0.3, 0.7, 0.9]
    np.testing.assert_allclose([p.get_height() for p in top.patches[3:]], [0.1, 0.1, 0], atol=1e-9)
    np.testing.assert_allclose([p.get_height() for p in bottom.patches], [0, 0.1, 0.2, 0.7])
    assert top.get_legend().get_title().get_text() == "ECE 3.0%"


def test_risk_names_several_curves_and_labels_a_single_one():
    assert [t.get_text() for t in risk().axes[0].get_legend().get_texts()] == ["one: 30.0% of all", "two: 40.0% of all"]
    single = plots.risk_coverage_curves({"": ((0.5, 1), (0.1, 0.25))}).axes[0]
    assert single.get_legend() is None
    assert texts(single) == ["25.0%"]


def test_small_multiples_share_a_scale_and_unused_places_are_empty():
    axes = curves().axes
    assert len(axes) == 10
    assert {a.get_ylim() for a in axes[:7]} == {(0, 1)}
    assert [a.axison for a in axes] == [True] * 7 + [False] * 3


def test_class_counts_are_stacked_and_labelled_with_totals():
    axes = counts().axes[0]
    assert [p.get_x() for p in axes.patches] == [0] * 7 + [10] * 7
    assert texts(axes)[-1] == "16  (18%)"


def test_training_curves_join_rows_by_epoch_and_name_the_best():
    loss, accuracy, rate = training().axes
    by_name = {line.get_label(): line for line in loss.lines}
    assert by_name["training loss"].get_xydata().tolist() == [[1, 2.5], [2, 2.1], [3, 1.9]]
    assert by_name["validation loss"].get_xydata().tolist() == [[1, 2.0], [2, 1.8], [3, 1.9]]
    assert [t.get_text() for t in accuracy.get_legend().get_texts()] == ["validation fer2013: best 60.0%, epoch 2"]
    assert rate.lines[0].get_ydata().tolist() == [0.1, 0.05, 0.01]
    with pytest.raises(InputError, match=r"metrics\.csv"):
        plots.training_curves([{"epoch": "0", "step": "1"}])


def test_curves_without_a_learning_rate_have_two_panels():
    rows = [{"epoch": 0, "train_loss": 1.0, "val_acc": 0.5}]
    assert [a.get_title(loc="left") for a in plots.training_curves(rows).axes] == ["loss", "accuracy"]


def test_a_gallery_needs_images_and_captions():
    with pytest.raises(InputError, match="at least one crop"):
        plots.gallery(np.zeros((0, 48, 48), np.uint8), [])
    with pytest.raises(InputError, match="a caption each"):
        plots.gallery(np.zeros((2, 48, 48), np.uint8), ["one"])


def test_a_users_settings_neither_change_the_figures_nor_are_changed():
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30}):
        before = dict(matplotlib.rcParams)
        figure = confusion()
        plots.inline_svg(figure, label="x")
        assert dict(matplotlib.rcParams) == before
    assert figure.axes[0].texts[0].get_fontsize() == 10.5
    assert figure.axes[0].get_facecolor()[3] == 0


def test_pyplot_is_never_loaded():
    code = (
        "import sys, numpy as np; from mien.output import plots; assert 'matplotlib' not in sys.modules\n"
        "plots.inline_svg(plots.confusion_heatmap(np.eye(2, dtype=int), ('a', 'b')), label='x')\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_equal_figures_are_equal_files(tmp_path):
    for name in ("x.svg", "x.png", "x.pdf"):
        a = plots.save_figure(risk(), tmp_path / name).read_bytes()
        assert plots.save_figure(risk(), tmp_path / name).read_bytes() == a


def test_a_figure_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(InputError, match=r"\.png, \.svg, \.pdf"):
        plots.save_figure(risk(), tmp_path / "figure.gif")
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(OutputError, match="it is not a file"):
        plots.save_figure(risk(), tmp_path / "taken.png")
    assert [p.name for p in tmp_path.iterdir()] == ["taken.png"]


def test_inline_svg_follows_the_page():
    svg = plots.inline_svg(scores(), label='F1 & "more"')
    root = ET.fromstring(svg)
    assert root.get("aria-label") == 'F1 & "more"'
    assert root.get("width") is None
    assert root.get("viewBox")
    assert "var(--ink)" in svg
    assert "var(--accent)" in svg
    assert plots.INK not in svg
    words = "".join(root.itertext())
    assert all(name in words for name in NAMES), "text stays text"
    assert "<metadata" not in svg


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    for module in ("matplotlib", "matplotlib.style", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"mien\[plots\]"):
        confusion()
