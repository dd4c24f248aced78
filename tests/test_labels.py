import numpy as np
import pytest

from mien.errors import InputError
from mien.labels import (
    COLOURS,
    EMOJI,
    FER7,
    FERPLUS8,
    FIVE,
    LABEL_SETS,
    LabelSet,
    canonical_name,
    convert_probs,
    label_set,
    named_labels,
)


def test_orders_are_those_of_the_data_sets():
    assert FER7.names == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    assert FERPLUS8.names == ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt")
    assert FIVE.names == ("angry", "happy", "sad", "surprise", "neutral")


def test_names_make_a_known_set_or_one_of_their_own():
    assert named_labels(["Anger", "happiness", "sad", "surprised", "neutral"]) == FIVE
    assert named_labels(["happy", "Bored "]) == LabelSet("own", ("happy", "bored"))
    assert named_labels(["x", "y"], key="mine").key == "mine"
    with pytest.raises(InputError, match="must not be empty"):
        named_labels(["happy", " "])
    with pytest.raises(InputError, match="distinct names"):
        named_labels(["joy", "happy"])


def test_every_expression_has_an_emoji_and_a_colour_of_its_own():
    names = {name for labels in LABEL_SETS.values() for name in labels.names}
    assert names == set(EMOJI) == set(COLOURS)
    assert len(set(EMOJI.values())) == len(set(COLOURS.values())) == len(names)


@pytest.mark.parametrize(
    ("given", "wanted"), [("Anger", "angry"), (" HAPPINESS ", "happy"), ("suprise", "surprise"), ("awe", "awe")]
)
def test_canonical_name(given, wanted):
    assert canonical_name(given) == wanted


def test_index_understands_synonyms_and_lists_the_known():
    assert FER7.index("Sadness") == 4
    with pytest.raises(InputError, match=r"no 'contempt'; it has angry, disgust"):
        FER7.index("contempt")


def test_unknown_label_set_lists_the_known():
    with pytest.raises(InputError, match="known: fer2013, ferplus, five"):
        label_set("fer2014")


def test_repeated_names_are_refused():
    with pytest.raises(InputError, match="distinct"):
        LabelSet("twice", ("happy", "happy"))


def test_convert_goes_by_name_and_renormalises():
    probs = np.array([[0.1, 0.2, 0.0, 0.4, 0.1, 0.1, 0.05, 0.05]], np.float32)  # FER+ order
    converted = convert_probs(probs, FERPLUS8, FER7)
    assert converted.dtype == np.float32
    assert converted.sum() == pytest.approx(1, abs=1e-6)
    assert converted[0, FER7.index("happy")] == pytest.approx(0.2 / 0.95, abs=1e-6)
    assert converted[0, FER7.index("sad")] == pytest.approx(0.4 / 0.95, abs=1e-6)


def test_what_only_the_target_knows_gets_nothing():
    back = convert_probs(np.full((2, 7), 1 / 7, np.float32), FER7, FERPLUS8)
    assert (back[:, FERPLUS8.index("contempt")] == 0).all()
    np.testing.assert_allclose(back.sum(axis=1), 1, atol=1e-6)


def test_nothing_in_common_gives_a_uniform_answer():
    converted = convert_probs(np.eye(2, dtype=np.float32)[:1], LabelSet("a", ("x", "y")), LabelSet("b", ("y", "z")))
    np.testing.assert_allclose(converted, [[0.5, 0.5]])
