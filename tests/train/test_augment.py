from dataclasses import replace

import numpy as np
import pytest
import torch

from drawn_faces import drawn_faces
from mien.errors import InputError
from mien.train.augment import (
    NO_AUGMENTATION,
    Augment,
    AugmentSettings,
    central_views,
    cutmix,
    mix,
    mixup,
    transformations,
)

CROPS = torch.from_numpy(drawn_faces(64).crops)
PLAIN = CROPS[:, None].float() / 255
WHOLE = replace(NO_AUGMENTATION, view_px=48)


def augmented(settings, seed=0, crops=CROPS):
    torch.manual_seed(seed)
    return Augment(settings)(crops)


def test_views_have_the_promised_form():
    views = augmented(AugmentSettings())
    assert views.shape == (64, 1, 44, 44)
    assert views.dtype == torch.float32
    assert views.min() >= 0
    assert views.max() <= 255
    assert not torch.equal(views, central_views(CROPS, 44))


def test_seed_decides_every_draw():
    settings = AugmentSettings(flip_vertical=0.5, brightness=0.3)
    assert torch.equal(augmented(settings, 1), augmented(settings, 1))
    assert not torch.equal(augmented(settings, 1), augmented(settings, 2))


def test_everything_off_changes_nothing():
    assert torch.equal(augmented(WHOLE), CROPS[:, None].float())


def test_central_views():
    assert torch.equal(central_views(CROPS, 44)[:, 0], CROPS[:, 2:46, 2:46].float())
    assert central_views(CROPS, 48).shape == central_views(CROPS, 64).shape == (64, 1, 48, 48)


def test_flips_are_flips_on_the_asked_share():
    whole = CROPS[:, None].float()
    for name, axis in (("flip", 3), ("flip_vertical", 2)):
        assert torch.equal(augmented(replace(WHOLE, **{name: 1.0})), whole.flip(axis))
        half = augmented(replace(WHOLE, **{name: 0.5}))
        flipped = (half == whole.flip(axis)).flatten(1).all(1)
        kept = (half == whole).flatten(1).all(1)
        assert (flipped | kept).all()
        assert 16 < flipped.sum() < 48


def test_rotation_stays_within_its_angle():
    spot = torch.zeros((200, 48, 48), dtype=torch.uint8)
    spot[:, 21:26, 40:45] = 255  # 18.5 to the right of the middle
    turned = augmented(replace(WHOLE, rotate_deg=20.0), crops=spot)[:, 0]
    mass = turned.sum(dim=(1, 2))
    grid = torch.arange(48.0) - 23.5
    y = (turned.sum(dim=2) * grid).sum(dim=1) / mass
    x = (turned.sum(dim=1) * grid).sum(dim=1) / mass
    angles = torch.rad2deg(torch.atan2(y, x))
    assert angles.abs().max() < 22
    assert angles.max() > 15
    assert angles.min() < -15


def test_shift_zoom_and_light_move_in_both_directions():
    spot = torch.zeros((200, 48, 48), dtype=torch.uint8)
    spot[:, 20:28, 20:28] = 200
    shifted = augmented(replace(WHOLE, shift=0.1), crops=spot)[:, 0]
    centre = (shifted.sum(dim=1) * torch.arange(48.0)).sum(dim=1) / shifted.sum(dim=(1, 2))
    assert 4 < (centre - 23.5).max() < 5.5
    assert -5.5 < (centre - 23.5).min() < -4
    size = augmented(replace(WHOLE, scale=0.3), crops=spot)[:, 0].sum(dim=(1, 2)) / (64 * 200)
    assert 1.5 < size.max() < 1.75
    assert 0.45 < size.min() < 0.65
    light = augmented(replace(WHOLE, brightness=0.2), crops=spot)[:, 0, 23, 23]
    assert 230 < light.max() <= 252
    assert 148 <= light.min() < 170
    assert ((light - 200).abs() < 0.01).float().mean() == pytest.approx(0.7, abs=0.12)


def test_erasing_paints_gray_rectangles():
    black = torch.zeros_like(CROPS)
    erased = augmented(replace(WHOLE, erase=1.0), crops=black)
    areas = (erased == 127.5).flatten(1).float().mean(1)
    assert ((erased == 0) | (erased == 127.5)).all()
    assert areas.min() > 0.01
    assert areas.max() < 0.3


def test_mixup_mixes_images_and_targets_alike():
    torch.manual_seed(3)
    targets = torch.eye(64)
    mixed, (soft,) = mixup(PLAIN, (targets,), 1.0)
    torch.testing.assert_close(mixed, (soft @ PLAIN.flatten(1)).reshape(PLAIN.shape))
    torch.testing.assert_close(soft.sum(1), torch.ones(64))


def test_cutmix_mixes_targets_by_area():
    checked = 0
    for seed in range(8):
        torch.manual_seed(seed)
        pasted, (soft,) = cutmix(torch.arange(64.0)[:, None, None, None].expand(64, 1, 44, 44), (torch.eye(64),), 1.0)
        torch.testing.assert_close(soft.sum(1), torch.ones(64))
        for row in range(64):
            values, counts = pasted[row].unique(return_counts=True)
            expected = torch.zeros(64)
            expected[values.long()] = counts / (44 * 44)
            torch.testing.assert_close(soft[row], expected)
            checked += len(values) == 2
    assert checked > 100


def test_mix_follows_the_shares():
    settings = AugmentSettings(mixup=1.0, mixup_share=0.3, cutmix=1.0, cutmix_share=0.5)
    torch.manual_seed(0)
    kinds = {"none": 0, "mixup": 0, "cutmix": 0}
    step = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 1, 8, 8)
    for _ in range(300):
        views, _ = mix(step, (torch.eye(2),), settings)
        whole = ((views == 0) | (views == 1)).all()
        uniform = (views.flatten(1) == views.flatten(1)[:, :1]).all()
        kinds["none" if torch.equal(views, step) else "mixup" if uniform and not whole else "cutmix"] += 1
    # half of the pairings leave both images with themselves
    assert kinds["mixup"] / 300 == pytest.approx(0.15, abs=0.06)
    assert kinds["cutmix"] / 300 == pytest.approx(0.25, abs=0.09)
    assert mix(step, (), WHOLE)[0] is step


def test_each_transformation_alone():
    torch.manual_seed(0)
    named = transformations(AugmentSettings())
    assert {"flip", "vertical flip", "shift", "rotation", "zoom", "brightness", "erasing", "mixup", "cutmix"} <= set(
        named
    )
    for name, transform in named.items():
        changed = transform(PLAIN)
        assert changed.shape == PLAIN.shape, name
        assert changed.dtype == torch.float32, name
        assert 0 <= changed.min() <= changed.max() <= 1, name
        assert (changed != PLAIN).flatten(1).any(1).float().mean() > 0.4, name


@pytest.mark.parametrize(
    ("name", "value"), [("flip", 1.5), ("rotate_deg", -3.0), ("erase", "often"), ("noise", np.nan), ("view_px", 64)]
)
def test_settings_out_of_range(name, value):
    with pytest.raises(InputError, match=f"augment.{name} must be 0 to"):
        replace(AugmentSettings(), **{name: value})
