"""Other shares of the expressions: Bayes on the answers, and files that say them."""

import json

import numpy as np
import pytest

from mien import Analyzer
from mien.errors import InputError
from mien.labels import COMBINED8, FER7
from mien.models.card import ModelCard
from mien.models.catalogue import load_model
from mien.models.prior import Prior, as_prior, changed_by

CARD = ModelCard(
    "m", "1", {"combined": COMBINED8.names},
    priors={"combined": dict(zip(FER7.names, (0.1, 0.05, 0.1, 0.4, 0.1, 0.05, 0.2), strict=True))},
)  # fmt: skip
SHARES = dict(zip(FER7.names, (0.3, 0.1, 0.1, 0.1, 0.2, 0.1, 0.1), strict=True))
LINES = "".join(f"{name},{share}\n" for name, share in SHARES.items())


def changed(prior, probs):
    return changed_by(as_prior(prior).factors(CARD, COMBINED8), np.array([probs], np.float32))[0]


def test_the_answer_to_nothing_known_is_the_shares_themselves_and_contempt_stays():
    known = [*(0.9 * share for share in CARD.priors["combined"].values()), 0.1]
    np.testing.assert_allclose(changed(SHARES, known), [*(0.9 * share for share in SHARES.values()), 0.1], atol=1e-6)
    np.testing.assert_allclose(changed("even", known), [*[0.9 / 7] * 7, 0.1], atol=1e-6)
    np.testing.assert_array_equal(changed("natural", known), np.float32(known))


def test_a_share_of_nothing_takes_an_expression_away_but_never_the_whole_answer():
    happy_alone = {name: float(name == "happy") for name in FER7.names}
    found = changed(happy_alone, [1, 0, 0, 0, 0, 0, 0, 0])
    assert np.isfinite(found).all()
    assert found.sum() == pytest.approx(1)
    none_angry = SHARES | {"angry": 0}
    assert changed(none_angry, [0.6, 0, 0, 0.3, 0, 0, 0.1, 0]).argmax() == FER7.index("happy")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "name,share\n" + LINES), ("b.csv", "\ufeff" + LINES.replace("happy", "Happiness")),
        ("c.json", json.dumps(SHARES)), ("counts.csv", "".join(f"{n},{s * 50}\n" for n, s in SHARES.items())),
    ],
)  # fmt: skip
def test_files_and_mappings_say_the_same(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert str(as_prior(tmp_path / name)) == str(as_prior(SHARES)) == str(as_prior(str(tmp_path / name)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", None, "natural, even, or a file of name,share; cannot read"),
        ("x.csv", "happy;0.4\n", "must have lines of name,share, got 'happy;0.4'"),
        ("x.csv", LINES + "Joy,0.2\n", "names 'happy' twice"),
        ("x.csv", LINES.replace("0.3", "many"), "share of 'angry' must be a number of 0 or more, got 'many'"),
        ("x.csv", LINES.replace("0.3", "-1"), "0 or more, got '-1'"),
        ("x.csv", LINES.replace("0.3", "nan"), "0 or more, got 'nan'"),
        ("x.csv", "happy,0\n", "a share above 0"),
        ("x.csv", "", "a share above 0"),
        ("x.csv", b"\xff\xfe\x00", "no text of name,share"),
        ("x.csv", b"happy,1\n" * 20_000, "too large"),
        ("x.json", "[1]", "must hold an object"),
        ("x.json", "{", "no text of name,share or JSON object"),
        ("x.json", '{"happy": true}', "must be a number"),
        ("x.csv", "happy,1\nsad,1\n", "lacks a share for angry, disgust, fear, surprise, neutral; give 0"),
        ("x.csv", LINES + "contempt,1\n", "'contempt', which keeps its probability; leave it out"),
        ("x.csv", LINES + "bored,1\n", "'bored', which is no expression of combined; leave it out"),
    ],
)
def test_wrong_files_say_what_is_wrong(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as caught:
        as_prior(tmp_path / name).factors(CARD, COMBINED8)
    assert len(str(caught.value)) < 400


def test_estimating_is_refused_with_the_reason_and_what_to_do_instead():
    with pytest.raises(InputError, match=r"does not estimate shares .* give a file of name,share"):
        as_prior("estimate")


def test_a_model_that_does_not_say_what_it_assumes_is_refused():
    with pytest.raises(InputError, match="export it again with `mien export`"):
        Prior("even").factors(ModelCard("m", "1", {"combined": COMBINED8.names}), COMBINED8)


@pytest.mark.parametrize("labels", ["combined", "fer2013", "ferplus"])
def test_every_head_of_a_shipped_model_takes_shares_and_photos_are_answered_by_them(astronaut, labels):
    natural = Analyzer(labels=labels).analyze(astronaut)
    other = Analyzer(labels=labels, prior=SHARES).analyze(astronaut)
    names, assumed = natural.labels.names, load_model().card.priors[labels]
    columns = [names.index(name) for name in assumed]
    p = natural.probs[0, columns].astype(float)
    wanted = p * np.array([SHARES[name] / share for name, share in assumed.items()])
    np.testing.assert_allclose(other.probs[0, columns], wanted * p.sum() / wanted.sum(), atol=1e-5)
    assert other.probs.sum() == pytest.approx(1, abs=1e-5)
