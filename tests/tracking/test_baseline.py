"""A person's own resting face: found among the frames of a track, limited, and taken out of the probabilities."""

from dataclasses import replace

import numpy as np
import pytest

from helpers import public_test
from mien.errors import InputError
from mien.faces import Faces
from mien.labels import COMBINED8, FER7, FERPLUS8, LabelSet
from mien.models.catalogue import load_model
from mien.models.prior import as_prior, changed_by
from mien.tracking import Baselines, Tracker, TrackSettings
from mien.tracking.baseline import LARGEST_BIAS, MOST_PEOPLE, TYPICAL, log_answers, typical_answer

CARD = load_model("mien-s").card
FPS = 25
REST = np.array(TYPICAL[COMBINED8])
SMILE = np.array([-0.5, -0.5, -0.7, 3.4, -0.5, -0.5, -0.2, -0.5])
SHOWN = np.concatenate([np.zeros(100), np.linspace(0, 1, 6), np.ones(40), np.linspace(1, 0, 6), np.zeros(98)])
ANGRY, HAPPY, NEUTRAL = (COMBINED8.index(name) for name in ("angry", "happy", "neutral"))


def bias_of(expression, size):
    bias = np.zeros(len(COMBINED8))
    bias[COMBINED8.index(expression)] = size
    return bias


def frames(bias, *, shown=SHOWN, people=(1,), seed=0, fps=FPS):
    """Yield the faces of people who rest, smile and rest again; `bias` is what the model reads into their faces."""
    rng = np.random.default_rng(seed)
    for number, share in enumerate(shown):
        logs = (1 - share) * REST + share * SMILE + bias + rng.normal(0, 0.15, (len(people), len(COMBINED8)))
        probs = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
        yield Faces(
            np.tile(np.float32([0, 0, 50, 50]), (len(people), 1)),
            np.ones(len(people), np.float32),
            probs=probs.astype(np.float32),
            labels=COMBINED8,
            track_id=np.array(people, np.int64),
            time_s=number / fps,
        )


def baselines(choice="auto"):
    return Baselines(TrackSettings(baseline=choice), COMBINED8, CARD)


def rested(seen, choice="auto"):
    """Return (N, C) probabilities of the first face of each frame after two passes, and what was taken out of them."""
    seen, found = list(seen), baselines(choice)
    for faces in seen:
        found.add(faces)
    found.settle()
    after = [found.taken_out(faces) for faces in seen]
    return np.stack([faces.probs[0] for faces in after]), np.array([faces.baseline[0] for faces in after])


@pytest.mark.parametrize(("expression", "size"), [("angry", 4.0), ("sad", 3.2)])
def test_a_resting_face_that_looks_angry_or_sad_becomes_neutral_and_its_smile_stays_one(expression, size):
    seen = list(frames(bias_of(expression, size)))
    before = np.stack([faces.probs[0] for faces in seen])
    assert (before[SHOWN == 0].argmax(axis=1) == COMBINED8.index(expression)).mean() > 0.9
    for choice in ("auto", (0.0, 3.5)):
        after, size_taken = rested(seen, choice)
        assert (after[SHOWN == 0].argmax(axis=1) == NEUTRAL).mean() > 0.95
        assert (after[SHOWN == 1].argmax(axis=1) == HAPPY).all()
        assert np.abs(after.sum(axis=1) - 1).max() < 1e-5
        assert 1 < size_taken[0] <= LARGEST_BIAS
        assert (size_taken == size_taken[0]).all()


def test_a_typical_face_is_left_as_it_is():
    seen = list(frames(np.zeros(len(COMBINED8))))
    after, size = rested(seen)
    assert np.abs(after - np.stack([faces.probs[0] for faces in seen])).max() < 0.05
    assert size[0] < 0.2


def test_little_is_taken_out_of_somebody_seen_for_a_short_time_and_nothing_after_a_single_frame():
    bias = bias_of("angry", 4.0)
    short, long = (rested(frames(bias, shown=np.zeros(count)))[1][0] for count in (6, 1000))
    assert 0 < short < 0.4
    assert 2 < long <= LARGEST_BIAS
    assert np.isnan(rested(frames(bias, shown=[0]))[1]).all()


def test_the_rate_of_the_frames_makes_no_difference():
    bias = bias_of("angry", 3.0)
    slow, fast = (rested(frames(bias, shown=np.zeros(8 * fps), fps=fps))[1][0] for fps in (5, 100))
    assert abs(slow - fast) < 0.25


def test_a_smile_that_is_held_for_the_whole_time_is_not_taken_for_rest_unless_somebody_says_so():
    held = list(frames(np.zeros(len(COMBINED8)), shown=np.ones(200)))
    after, size = rested(held)
    assert np.isnan(size).all()
    np.testing.assert_array_equal(after, np.stack([faces.probs[0] for faces in held]))
    assert rested(held, (0.0, 8.0))[1][0] > 1


def test_only_people_seen_in_the_named_stretch_have_a_baseline():
    first = list(frames(bias_of("angry", 4.0), shown=np.zeros(100)))
    late = [replace(f, time_s=f.time_s + 4) for f in frames(bias_of("sad", 4.0), shown=np.zeros(100), people=(2,))]
    found = baselines((0.0, 3.0))
    for faces in [*first, *late]:
        found.add(faces)
    found.settle()
    assert len(found) == 1
    assert found.taken_out(first[0]).baseline[0] > 1
    assert np.isnan(found.taken_out(late[0]).baseline).all()
    assert found.taken_out(late[0])[0].baseline is None


def test_memory_is_bounded_by_people_and_frames():
    """However long one is seen, so much is kept; of more people than fit, those longest unseen are settled."""
    found = baselines()
    for faces in frames(bias_of("angry", 4.0), shown=np.zeros(3000)):
        found.add(faces)
    (person,) = found._people.values()
    assert len(person._logs) == 512
    assert 256 <= person._kept <= 512
    for number in range(MOST_PEOPLE + 10):
        for faces in frames(bias_of("sad", 3.0), shown=np.zeros(3), people=(100 + number,)):
            found.add(replace(faces, time_s=faces.time_s + 200 + number))
    assert len(found._people) == MOST_PEOPLE
    assert found.bias(1, 1e6)[ANGRY] > 2


def test_what_is_typical_is_what_a_shipped_model_says_of_neutral_faces(shared):
    data = public_test(shared)
    crops = data.crops[data.label == data.labels.index("neutral")]
    model = load_model("mien-s")
    for name, limit in (("combined", 0.4), ("fer2013", 0.4)):
        said = log_answers(model.predict_proba(crops, head=name)).mean(axis=0)
        assert np.abs(said - typical_answer(model.card.label_set(name), model.card)).max() < limit


def test_what_is_taken_out_is_the_person_and_not_the_shares_that_are_expected():
    model, sizes = load_model("mien-s"), {}
    for prior in ("natural", "even"):
        factors = as_prior(prior).factors(model.card, COMBINED8)
        found = Baselines(TrackSettings(baseline="auto"), COMBINED8, model.card, as_prior(prior))
        for faces in frames(bias_of("angry", 3.0)):
            found.add(replace(faces, probs=changed_by(factors, faces.probs)))
        found.settle()
        sizes[prior] = found.bias(1, 0.0)
    assert sizes["natural"][ANGRY] > 1.5
    np.testing.assert_allclose(sizes["even"], sizes["natural"], atol=0.15)


def test_label_sets_of_the_same_names_have_a_typical_answer_by_name():
    own = LabelSet("own", ("neutral", "happy", "angry"))
    card = replace(CARD, temperatures={**CARD.temperatures, "own": 1.0})
    typical = typical_answer(own, card)
    assert typical.argmax() == 0
    assert abs(typical.sum()) < 1e-9
    for labels in (FER7, FERPLUS8, COMBINED8):
        assert typical_answer(labels, CARD).argmax() == labels.index("neutral")


def test_models_and_label_sets_that_allow_no_baseline_say_so():
    with pytest.raises(InputError, match="expressions of FER2013 with neutral among them"):
        typical_answer(LabelSet("own", ("happy", "sad")), CARD)
    with pytest.raises(InputError, match="needs a calibrated model"):
        typical_answer(FER7, replace(CARD, temperatures={}))


@pytest.mark.parametrize("value", ["always", (3.0, 2.0), (-1.0, 2.0), (1.0,), 5])
def test_a_wrong_baseline_is_refused(value):
    with pytest.raises(InputError, match='baseline must be "auto" or'):
        TrackSettings(baseline=value)


def test_a_tracker_with_a_baseline_keeps_no_state(analyzer):
    with pytest.raises(InputError, match="can be resumed"):
        Tracker(analyzer, TrackSettings(baseline="auto")).state()
