"""The HTML page of `mien compare`: the figures are those of the reports, names are escaped, nothing is requested."""

import base64
import itertools
import re

import cv2
import numpy as np
import pytest

from helpers import run_cli
from mien.datasets import CropDataset, write_dataset
from mien.errors import InputError
from mien.evaluate import compare, evaluate
from mien.evaluate.cells import comparison_cells, figure_cells
from mien.evaluate.compare_page import SHOWN_FACES, comparison_to_html
from mien.labels import FER7, FIVE
from pages import outline

N = 120
SHARP, EVIL = "sharp", "<b>evil</b> & co"


def model(seed, right):
    """A model that reads the label from the first pixel and gets about that share of the images right."""

    def predict_proba(crops):
        rng = np.random.default_rng(seed)
        answers = np.where(rng.random(len(crops)) < right, crops[:, 0, 0], rng.integers(0, 7, len(crops)))
        probs = rng.random((len(crops), 7)) + 3 * np.eye(7)[answers]
        return (probs / probs.sum(axis=1, keepdims=True)).astype(np.float32)

    return predict_proba


def make_data():
    rng = np.random.default_rng(1)
    crops = rng.integers(0, 256, (N, 48, 48), np.uint8)
    label = rng.integers(0, 7, N).astype(np.int8)
    crops[:, 0, 0] = label
    label[:4] = -1
    return CropDataset(crops, label, np.full(N, "PublicTest"), labels=FER7)


def measure(name_to_right):
    data = make_data()
    return {
        name: evaluate(model(seed, right), data, FER7, trained_on=data.crops[10:13], resamples=50)
        for seed, (name, right) in enumerate(name_to_right.items())
    }


def paired(reports):
    return {
        (a, b): compare(reports[a].predictions, reports[b].predictions, resamples=50)
        for a, b in itertools.combinations(reports, 2)
    }


@pytest.fixture(scope="module")
def crops():
    return make_data().crops


@pytest.fixture(scope="module")
def reports():
    return measure({SHARP: 0.9, EVIL: 0.5, "third": 0.5})


@pytest.fixture(scope="module")
def pairs(reports):
    return paired(reports)


@pytest.fixture(scope="module")
def page(reports, pairs, crops):
    return comparison_to_html(reports, pairs, title="A <i> & B", facts={"SHA-256 of sharp": "ab" * 32}, crops=crops)


def table_of(page, first_column, nth=0):
    return [table for table in outline(page).tables if table[0][0] == first_column][nth]


def test_the_models_have_the_figures_of_their_reports(page, reports):
    rows = {row[0]: row[1:-1] for row in table_of(page, "model")[1:]}
    assert list(rows) == [line for name in reports for line in (name, f"{name}, without copies")]
    for name, report in reports.items():
        assert rows[name] == figure_cells(report.overall)
        assert rows[f"{name}, without copies"] == figure_cells(report.unseen)
    assert rows[SHARP][0] == "116"
    assert rows[f"{SHARP}, without copies"][0] == "113"


def test_the_pairs_have_the_figures_of_their_comparisons(page, pairs):
    rows = [row[:-1] for row in table_of(page, "pair")[1:]]
    assert rows == [comparison_cells(a, b, found) for (a, b), found in pairs.items()]
    found = outline(page)
    assert [address for address in found.addresses if address.startswith("#")] == [f"#{id_}" for id_ in found.ids]


def test_each_expression_has_the_f1_of_every_model_and_what_the_first_has_more(page, reports):
    header, *rows = table_of(page, "expression")
    assert header[2:] == [f"F1 {name}" for name in reports] + [f"{SHARP} − {EVIL}", f"{SHARP} − third"]
    for i, row in enumerate(rows):
        of_class = [report.classes[i] for report in reports.values()]
        assert row[0].endswith(FER7.names[i])
        assert row[1] == str(of_class[0].support)
        assert [cell.strip() for cell in row[2:5]] == [f"{c.f1:.1%}" for c in of_class]
        differences = [f"{100 * (of_class[0].f1 - c.f1):+.1f}" for c in of_class[1:]]
        assert [cell.strip() for cell in row[5:]] == differences


def test_the_outcomes_of_a_pair_are_counted_once(page, pairs):
    for number, found in enumerate(pairs.values()):
        outcomes = [int(row[1]) for row in table_of(page, "", number)[1:]]
        both, only_a, only_b, _ = outcomes
        assert (only_a, only_b, sum(outcomes)) == (found.only_a, found.only_b, found.n)
        assert both + only_a == round(found.n * found.accuracy_a)
        by_label = np.array([row[1:6] for row in table_of(page, "label", number)[1:]], int)
        assert by_label[:, 1:].sum(axis=0).tolist() == outcomes
        assert (by_label[:, 1:].sum(axis=1) == by_label[:, 0]).all()


def test_the_answers_that_differ_are_counted_by_who_is_right(page, reports, pairs):
    for number, (a, b) in enumerate(pairs):
        header, *rows = table_of(page, f"{a} ↓ {b} →", 0)
        assert header[1:] == list(FER7.names)
        cells = [[list(map(int, re.findall(r"\d+", cell))) for cell in row[1:]] for row in rows]
        of_a, of_b = (reports[name].predictions for name in (a, b))
        differ = (of_a.predicted != of_b.predicted) & of_a.counted
        assert sum(cell[0] for row in cells for cell in row if cell) == differ.sum(), number
        for row, column in itertools.product(range(7), repeat=2):
            here = differ & (of_a.predicted == row) & (of_b.predicted == column)
            n = [int(here.sum()), int((here & of_a.correct).sum()), int((here & of_b.correct).sum())]
            assert cells[row][column] == (n if n[0] else [])


def test_the_faces_are_those_that_one_model_alone_gets_right(page, reports, pairs, crops):
    found = outline(page)
    images = [address for address in found.addresses if address.startswith("data:image/png;base64,")]
    expected = []
    for a, b in pairs:
        of_a, of_b = reports[a].predictions, reports[b].predictions
        for right, wrong in ((of_a, of_b), (of_b, of_a)):
            chosen = np.flatnonzero(right.counted & right.correct & ~wrong.correct)
            sure = (right.confidence + wrong.confidence)[chosen]
            expected += [(i, of_a, of_b) for i in chosen[np.argsort(-sure, kind="stable")][:SHOWN_FACES]]
    assert len(images) == len(found.alts) == len(expected) > 3 * SHOWN_FACES
    for image, alt, (index, of_a, of_b) in zip(images, found.alts, expected, strict=True):
        encoded = np.frombuffer(base64.b64decode(image.partition(",")[2]), np.uint8)
        assert (cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE) == crops[index]).all()
        truth, answer_a, answer_b = (
            FER7.names[i] for i in (of_a.truth[index], of_a.predicted[index], of_b.predicted[index])
        )
        assert alt == f"face {index}: label {truth}, answers {answer_a} and {answer_b}"


def test_a_clear_winner_is_named_and_a_draw_is_not(page, pairs):
    clear, draw = pairs[SHARP, EVIL], pairs[EVIL, "third"]
    assert clear.p_value < 0.001
    assert draw.p_value > 0.05
    assert f"sharp is better: {clear.only_a} images only sharp gets right" in page
    assert page.count("No clear winner") == sum(found.p_value >= 0.05 for found in pairs.values())


def test_the_page_asks_for_nothing_and_runs_nothing(page):
    found = outline(page)
    assert not {"script", "link", "iframe", "object"} & set(found.tags)
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in found.addresses)
    assert re.findall(r"https?://", page) == []
    assert "@import" not in page
    assert "url(" not in page
    assert "prefers-color-scheme: dark" in page


def test_names_are_escaped(page):
    assert "A &lt;i&gt; &amp; B" in page
    assert "&lt;b&gt;evil&lt;/b&gt; &amp; co" in page
    assert "<b>evil" not in page
    assert "<i> & B" not in page


def test_the_same_comparison_is_the_same_page(page, reports, pairs, crops):
    facts = {"SHA-256 of sharp": "ab" * 32}
    assert comparison_to_html(reports, pairs, title="A <i> & B", facts=facts, crops=crops) == page


def test_models_that_answer_alike_have_nothing_to_show(reports, crops):
    twins = {"one": reports[SHARP], "two": reports[SHARP]}
    page = comparison_to_html(twins, paired(twins), title="Twins", crops=crops)
    found = outline(page)
    assert found.headings == ["Models", "Pairs", "Expressions", "one and two", "Who is right on which label"]
    assert "No clear winner: 0 images only one gets right, 0 only two, which chance alone may do (p = 1.000)" in page


def test_without_crops_there_are_no_faces(reports, pairs):
    assert "img" not in outline(comparison_to_html(reports, pairs, title="No faces")).tags


def test_what_does_not_belong_together_is_refused(reports, pairs, crops):
    with pytest.raises(InputError, match="crops must be the 120 images"):
        comparison_to_html(reports, pairs, title="", crops=crops[:5])
    with pytest.raises(InputError, match=r"missing \['third'\]"):
        comparison_to_html({name: reports[name] for name in (SHARP, EVIL)}, pairs, title="")
    five = evaluate(model(0, 0.9), make_data(), FER7, target=FIVE, resamples=50)
    with pytest.raises(InputError, match="same images and label set"):
        comparison_to_html({SHARP: reports[SHARP], "five": five}, {}, title="")


def test_the_command_writes_the_page_and_refuses_other_endings(monkeypatch, capsys, tmp_path):
    from mien.models.catalogue import model_path

    mien = run_cli(monkeypatch, capsys)
    data, other = tmp_path / "small.npz", tmp_path / "copy.onnx"
    other.write_bytes(model_path("mien-b").read_bytes())
    write_dataset(make_data(), data)
    code, _, err = mien("compare", "mien-b", other, data, "-o", tmp_path / "pairs.txt")
    assert code == 2
    assert ".html, .json, .md" in err
    assert not (tmp_path / "pairs.txt").exists()
    code, _, err = mien("compare", "mien-b", other, data, "-o", tmp_path / "pairs.html")
    assert code == 0, err
    page = (tmp_path / "pairs.html").read_text(encoding="utf-8")
    assert f"<h1>mien-b and {other} on small PublicTest</h1>" in page
    assert outline(page).tables[0][1][:2] == ["mien-b", "116"]
    assert f"<dt>SHA-256 of {other}</dt>" in page
