import base64
import json
import re
import sys
from dataclasses import fields, replace

import cv2
import numpy as np
import pytest

from mien.datasets import CropDataset
from mien.errors import InputError, MissingExtraError, OutputError
from mien.evaluate import Latency, compare, evaluate
from mien.evaluate.document import ReportDocument, comparison_to_json, to_json
from mien.evaluate.markdown import comparison_to_markdown, to_markdown
from mien.evaluate.report import write_report
from mien.evaluate.report_page import to_html
from mien.evaluate.robustness import measure_robustness
from mien.labels import FER7, FERPLUS8
from pages import outline

N = 60


def model(sharpness):
    def predict_proba(crops):
        logits = sharpness * crops.reshape(len(crops), -1)[:, :8].astype(np.float32) / 255
        weights = np.exp(logits)
        return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)

    return predict_proba


def make_data():
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (N, 48, 48), np.uint8)
    votes = np.zeros((N, 10), np.uint8)
    votes[np.arange(N), np.where(rng.random(N) < 0.5, crops[:, 0, :8].argmax(axis=1), rng.integers(0, 8, N))] = 10
    votes[:3] = [5, 5, 0, 0, 0, 0, 0, 0, 0, 0]
    return CropDataset(crops, np.zeros(N, np.int8), np.full(N, "PublicTest"), labels=FER7, votes=votes)


@pytest.fixture(scope="module")
def document():
    data = make_data()
    groups = {"age": np.array(["old", "<young>", ""])[np.arange(N) % 3]}
    return ReportDocument(
        "Model <b> & data",
        evaluate(model(9), data, FERPLUS8, trained_on=data.crops[10:14], groups=groups, resamples=50),
        facts={"SHA-256": "ab" * 32, "Date": "2026-01-01", "Pipe|d": "a|b"},
        crops=data.crops,
        robustness=measure_robustness(model(9), data, FERPLUS8, kinds=("blur", "darkness")),
        latency=(Latency(1, 1.25, 1.5, 800.0), Latency(64, 64.0, 70.0, 1000.0)),
    )


@pytest.fixture(scope="module")
def page(document):
    return to_html(document)


def test_json_holds_every_figure_under_stable_keys(document):
    found = json.loads(to_json(document))
    report = document.report
    assert found["schema"] == "mien-report/1"
    assert {f.name for f in fields(report)} - {"predictions"} <= set(found)
    assert found["facts"]["Date"] == "2026-01-01"
    assert found["overall"]["n"] == N - 3 == found["unseen"]["n"] + found["n_duplicates"]
    assert found["overall"]["accuracy"]["low"] == pytest.approx(report.overall.accuracy.low, abs=1e-6)
    assert found["confusion"] == report.confusion.tolist()
    assert [c["name"] for c in found["classes"]] == list(FERPLUS8.names) == found["labels"]["names"]
    assert len(found["calibration"]["bins"]) == 15
    assert found["calibration"]["bins"][0] == {
        "low": 0.0, "high": 0.066667, "count": 0, "confidence": None, "accuracy": None,
    }  # fmt: skip
    assert found["selective"]["aurc"] == pytest.approx(report.selective.aurc, abs=1e-6)
    assert found["votes"]["n"] == N
    assert [g["group"] for g in found["groups"]] == ["", "<young>", "old"]
    assert [c["kind"] for c in found["robustness"]["curves"]] == ["blur", "darkness"]
    assert found["latency"][1] == {"batch_size": 64, "median_ms": 64.0, "p90_ms": 70.0, "faces_per_s": 1000.0}
    assert len(found["mistakes"]) == min(24, (~report.predictions.correct & report.predictions.counted).sum())
    assert "NaN" not in to_json(document)


def test_markdown_has_the_figures_with_intervals_and_n(document):
    text = to_markdown(document)
    overall = document.report.overall
    assert f"| All images | 57 | {overall.accuracy.value:.1%} ({100 * overall.accuracy.low:.1f}–" in text
    assert "Without the 4 also in the training data | 53 |" in text
    assert all(f"{name} |" in text for name in FERPLUS8.names)
    assert "age: not stated" in text
    assert "- Pipe\\|d: a\\|b" in text
    assert "3 images without such a majority are left out" in text
    assert "50 bootstrap resamples, seed 0" in text
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_the_page_is_well_formed_and_complete(document, page):
    found = outline(page)
    assert found.headings == [
        "Figures", "Against the annotators' votes", "Expressions", "Confusion", "Calibration",
        "When the model may say «uncertain»", "Slices", "age", "Robustness", "Speed", "Worst mistakes",
    ]  # fmt: skip
    assert found.tags.count("svg") == 5
    assert found.tags.count("img") == len(document.report.mistakes)
    words = " ".join(found.text)
    assert f"{document.report.overall.accuracy.value:.1%}" in words
    assert "ab" * 32 in words


def test_the_page_asks_for_nothing_and_runs_nothing(page):
    found = outline(page)
    assert "script" not in found.tags
    assert "link" not in found.tags
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in found.addresses)
    assert set(re.findall(r"https?://[^\s\"')]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "@import" not in page
    assert set(re.findall(r"url\((.)", page)) <= {"#"}


def test_what_users_named_is_escaped(page):
    assert "Model &lt;b&gt; &amp; data" in page
    assert "<b> & data" not in page
    assert "&lt;young&gt;" in page
    assert "<young>" not in page


def test_the_gallery_shows_the_very_crops(document, page):
    first = base64.b64decode(re.search(r"data:image/png;base64,([^\"]+)", page).group(1))
    shown = cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert (shown == document.crops[document.report.mistakes[0].index]).all()


def test_light_and_dark_come_from_the_reader(page):
    assert "prefers-color-scheme: dark" in page
    assert "var(--ink)" in page


def test_what_was_not_measured_is_left_out(document):
    report = replace(document.report, votes=None, unseen=None, n_duplicates=None, groups=(), rule="labels")
    bare = ReportDocument("Bare", report)
    assert outline(to_html(bare)).headings == [
        "Figures", "Expressions", "Confusion", "Calibration", "When the model may say «uncertain»",
    ]  # fmt: skip
    assert "Scored by the data set's labels." in to_markdown(bare)
    assert json.loads(to_json(bare))["robustness"] is None


def test_the_same_report_is_the_same_page(document, page):
    assert to_html(document) == page


def test_crops_of_other_images_are_refused(document):
    with pytest.raises(InputError, match="must be the 60 images"):
        replace(document, crops=document.crops[:5])


def test_files_appear_whole_or_not_at_all(document, tmp_path, page):
    paths = write_report(document, tmp_path / "new" / "folder")
    assert [p.name for p in paths] == ["report.json", "report.md", "report.html"]
    assert paths[2].read_text(encoding="utf-8") == page
    assert len(list(paths[0].parent.iterdir())) == 3
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="part of the path is a file"):
        write_report(document, tmp_path / "file" / "below")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "new"]


def test_json_and_markdown_need_no_matplotlib(document, tmp_path, monkeypatch):
    for module in ("matplotlib", "matplotlib.style", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"mien\[plots\]"):
        write_report(document, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.json", "report.md"]


def test_comparisons(document):
    data = make_data()
    reports = {"sharp": document.report, "even": evaluate(model(-9), data, FERPLUS8, resamples=50)}
    found = compare(reports["sharp"].predictions, reports["even"].predictions)
    as_json = json.loads(comparison_to_json(reports, {("sharp", "even"): found}))
    assert as_json["pairs"][0]["p_value"] == pytest.approx(found.p_value, abs=1e-6)
    assert as_json["pairs"][0]["a"] == "sharp"
    assert as_json["models"]["even"]["n"] == 57
    text = comparison_to_markdown(reports, {("sharp", "even"): found})
    assert f"| sharp − even | {100 * found.difference.value:+.1f} (" in text
    assert "| < 0.001 |" in text
