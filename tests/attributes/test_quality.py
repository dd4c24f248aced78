"""Quality falls with what spoils a crop, and with what the mesh says."""

import numpy as np
import pytest

from mien.attributes.quality import PENALTIES, penalties, qualities, quality_of
from mien.detect.align import crop_faces
from mien.evaluate.corruptions import corrupt

GOOD = np.array([40.0]), np.zeros((1, 3)), np.ones(1, np.float32)


@pytest.fixture(scope="module")
def crop(request):
    analyzer, astronaut = (request.getfixturevalue(name) for name in ("analyzer", "astronaut"))
    return crop_faces(astronaut, analyzer.analyze(astronaut).largest())


@pytest.mark.parametrize(
    ("kind", "strength", "penalty"),
    [
        ("blur", 3, "detail"),
        ("low-resolution", 5 / 6, "detail"),
        ("noise", 60, "noise"),
        ("overexposure", 2, "clipped"),
        ("occluded-eyes", 1, "eyes covered"),
        ("occluded-mouth", 1, "mouth covered"),
    ],
)
def test_each_way_to_spoil_a_crop_costs_quality(crop, kind, strength, penalty):
    spoilt = corrupt(crop, kind, strength)
    before, after = (penalties(crops, *GOOD)[0, PENALTIES.index(penalty)] for crops in (crop, spoilt))
    assert after > before + 0.1
    assert qualities(spoilt, *GOOD)[0] < qualities(crop, *GOOD)[0] - 0.01


def test_darkness_alone_costs_nothing(crop):
    assert qualities(corrupt(crop, "darkness", 0.75), *GOOD)[0] == pytest.approx(qualities(crop, *GOOD)[0], abs=0.03)


def test_small_turned_and_missing_faces_cost_quality(crop):
    eye_px, pose, presence = GOOD
    good = qualities(crop, *GOOD)[0]
    assert qualities(crop, np.array([5.0]), pose, presence)[0] < good
    assert qualities(crop, eye_px, np.array([[50.0, 0, 0]]), presence)[0] < good - 0.2
    assert qualities(crop, eye_px, np.array([[0, 0, 80.0]]), presence)[0] == good, "alignment undoes the roll"
    assert qualities(crop, eye_px, pose, np.zeros(1, np.float32))[0] < good
    assert 0 <= qualities(crop, np.array([np.nan]), np.full((1, 3), np.nan), presence)[0] < good


def test_quality_is_1_without_a_penalty_and_never_below_0():
    count = len(PENALTIES)
    told = quality_of(np.stack([np.zeros(count), np.full(count, 1e6)]))
    assert told[0] == pytest.approx(1) and 0 <= told[1] < 1e-6
    assert penalties(np.zeros((0, 48, 48), np.uint8), np.zeros(0), np.zeros((0, 3)), np.zeros(0)).shape == (0, count)
    flat = np.full((1, 48, 48), 90, np.uint8)
    assert qualities(flat, *GOOD)[0] < 0.8
