import numpy as np
import pytest

from mien.datasets import CropDataset
from mien.errors import InputError
from mien.evaluate import CORRUPTIONS, corrupt, measure_robustness
from mien.labels import FER7, FIVE, LabelSet

DARK_BRIGHT = LabelSet("light", ("dark", "bright"))


def crops_of(*levels):
    return np.stack([np.full((48, 48), level, np.uint8) for level in levels])


@pytest.fixture(scope="module")
def textured():
    rng = np.random.default_rng(0)
    smooth = rng.integers(60, 190, (6, 12, 12)).repeat(4, axis=1).repeat(4, axis=2)
    return smooth.astype(np.uint8)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_strength_0_changes_nothing_and_more_changes_more(kind, textured):
    before = textured.copy()
    strengths = CORRUPTIONS[kind].strengths
    spoilt = [corrupt(textured, kind, s, seed=1) for s in strengths]
    assert (spoilt[0] == before).all()
    assert all(s.shape == before.shape and s.dtype == np.uint8 for s in spoilt)
    assert (textured == before).all(), "the input must stay as it is"
    distance = [np.abs(s.astype(int) - before).mean() for s in spoilt]
    assert 0 < distance[1] < distance[-1]


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_the_same_seed_gives_the_same_crops(kind, textured):
    strength = CORRUPTIONS[kind].strengths[-1]
    a, b, other = (corrupt(textured, kind, strength, seed=seed) for seed in (1, 1, 2))
    assert (a == b).all()
    assert (a != other).any() == (kind in ("noise", "rotation", "shift"))


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_no_crop_at_all_is_an_ordinary_value(kind):
    assert corrupt(crops_of(0)[:0], kind, CORRUPTIONS[kind].strengths[-1]).shape == (0, 48, 48)


def test_light_is_scaled_and_clipped():
    assert (corrupt(crops_of(100), "darkness", 0.5) == 50).all()
    assert (corrupt(crops_of(200), "darkness", 1.0) == 0).all()
    assert (corrupt(crops_of(100), "overexposure", 0.5) == 150).all()
    assert (corrupt(crops_of(200), "overexposure", 1.0) == 255).all()


def test_noise_has_the_standard_deviation_asked_for():
    spoilt = corrupt(crops_of(*[128] * 8), "noise", 20.0).astype(float)
    assert spoilt.std() == pytest.approx(20, rel=0.03)
    assert spoilt.mean() == pytest.approx(128, abs=0.5)


@pytest.mark.parametrize("kind", ["blur", "low-resolution", "rotation", "shift"])
def test_an_even_image_stays_even(kind):
    for strength in CORRUPTIONS[kind].strengths:
        assert np.abs(corrupt(crops_of(90), kind, strength).astype(int) - 90).max() <= 1


def test_a_shift_moves_by_its_strength():
    dots = crops_of(*[0] * 5)
    dots[:, 22:26, 22:26] = 200
    moved = corrupt(dots, "shift", 8.0).astype(float)
    y, x = np.mgrid[:48, :48]
    centre = [(np.sum(x * m) / m.sum(), np.sum(y * m) / m.sum()) for m in moved]
    np.testing.assert_allclose(np.hypot(*(np.array(centre) - 23.5).T), 8, atol=0.1)


def test_a_rotation_turns_by_its_strength():
    bars = crops_of(*[0] * 6)
    bars[:, 23:25, 8:40] = 200
    turned = corrupt(bars, "rotation", 30.0).astype(float)
    y, x = np.mgrid[:48, :48] - 23.5
    angles = [0.5 * np.degrees(np.arctan2(2 * (x * y * m).sum(), ((x**2 - y**2) * m).sum())) for m in turned]
    np.testing.assert_allclose(np.abs(angles), 30, atol=1)
    assert len(set(np.sign(angles))) == 2


@pytest.mark.parametrize(("kind", "first", "last"), [("occluded-eyes", 11, 27), ("occluded-mouth", 30, 46)])
def test_occlusion_covers_the_band_where_training_crops_have_it(kind, first, last, textured):
    spoilt = corrupt(textured, kind, 1.0)
    gray = np.rint(textured.mean(axis=(1, 2)))
    assert (spoilt[:, first:last] == gray[:, None, None]).all()
    assert (spoilt[:, :first] == textured[:, :first]).all()
    assert (spoilt[:, last:] == textured[:, last:]).all()
    half = corrupt(textured, kind, 0.5)
    assert (half != textured).any(axis=(0, 2)).sum() == 8


def bright_or_dark(crops):
    bright = crops.mean(axis=(1, 2)) > 60
    return np.stack((~bright, bright), axis=1).astype(np.float32)


def light_data():
    crops = crops_of(*[40] * 10, *[100] * 30, 0, 0)
    label = np.array([0] * 10 + [1] * 30 + [-1, -1], np.int8)
    return CropDataset(crops, label, np.full(42, "PublicTest"), labels=DARK_BRIGHT)


def test_the_curve_of_a_model_that_only_sees_light():
    told = []
    found = measure_robustness(
        bright_or_dark, light_data(), DARK_BRIGHT, kinds=("darkness", "shift"),
        strengths={"darkness": (0, 0.2, 0.5)}, progress=lambda *x: told.append(x),
    )  # fmt: skip
    assert (found.n, found.accuracy) == (40, 1.0)
    darkness, shift = found.curves
    assert darkness.accuracy == (1.0, 1.0, 0.25)
    assert darkness.mean_accuracy == pytest.approx(0.625)
    assert darkness.settings == ("100", "80", "50")
    assert set(shift.accuracy) == {1.0}
    assert found.mean_accuracy == pytest.approx((0.625 + 1) / 2)
    assert told == [(i + 1, 8) for i in range(8)]


def test_a_sample_is_drawn_with_the_seed():
    settings = {"kinds": ("darkness",), "sample": 12}
    a, b, c = (measure_robustness(bright_or_dark, light_data(), DARK_BRIGHT, seed=s, **settings) for s in (1, 1, 3))
    assert a == b
    assert a.n == c.n == 12
    assert a.curves != c.curves


def test_label_sets_are_mapped_as_in_an_evaluation():
    data = CropDataset(crops_of(10, 10), np.array([0, 3], np.int8), np.full(2, "Test"), labels=FIVE)

    def surprised_or_fearful(crops):
        probs = np.zeros((len(crops), 7), np.float32)
        probs[:, FER7.index("fear")], probs[:, FER7.index("surprise")] = 0.7, 0.3
        return probs

    assert measure_robustness(surprised_or_fearful, data, FER7, kinds=()).accuracy == 0
    assert measure_robustness(surprised_or_fearful, data, FER7, target=FIVE, kinds=()).accuracy == 0.5


def test_wrong_use_is_refused():
    data = light_data()
    with pytest.raises(InputError, match="known: blur"):
        measure_robustness(bright_or_dark, data, DARK_BRIGHT, kinds=("rain",))
    with pytest.raises(InputError, match="must start at 0"):
        measure_robustness(bright_or_dark, data, DARK_BRIGHT, strengths={"blur": (1, 2)})
    with pytest.raises(InputError, match="no image has a label"):
        measure_robustness(bright_or_dark, data.where(data.label < 0), DARK_BRIGHT)
    with pytest.raises(InputError, match="0 or more"):
        corrupt(data.crops, "blur", -1)
    with pytest.raises(InputError, match="uint8"):
        corrupt(data.crops.astype(np.float32), "blur", 1)
