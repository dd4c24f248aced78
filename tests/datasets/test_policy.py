"""Which crops train and which validate."""

import numpy as np
import pytest

from drawn_faces import drawn_faces
from mien.datasets import PUBLIC_TEST, TRAINING, UNSPLIT, VALIDATION, CropDataset, hold_out, splits_for_training
from mien.errors import InputError


@pytest.fixture(scope="module")
def faces() -> CropDataset:
    return drawn_faces(60)


def with_usage(data: CropDataset, *usage: str) -> CropDataset:
    return CropDataset(data.crops, data.label, np.array(usage))


def test_the_data_s_own_validation_split_comes_first(faces):
    data = with_usage(faces, *[TRAINING] * 40, *[VALIDATION] * 10, *[PUBLIC_TEST] * 10)
    own = splits_for_training(data)
    assert (len(own.training), len(own.validation), own.how) == (40, 10, VALIDATION)
    assert splits_for_training(data, validation=PUBLIC_TEST).validation.splits() == (PUBLIC_TEST,)
    with pytest.raises(InputError, match="no split 'Nowhere'"):
        splits_for_training(data, validation="Nowhere")


def test_a_share_is_held_out_of_the_training_crops(faces):
    data = with_usage(faces, *[TRAINING] * 40, *[VALIDATION] * 10, *[PUBLIC_TEST] * 10)
    dealt = splits_for_training(data, share=0.25)
    assert (len(dealt.training), len(dealt.validation)) == (30, 10)
    assert dealt.validation.splits() == (VALIDATION,)


def test_a_tenth_is_held_out_where_nothing_validates(faces):
    dealt = splits_for_training(with_usage(faces, *[TRAINING] * 50, *["Test"] * 10))
    assert (len(dealt.training), len(dealt.validation)) == (45, 5)
    assert dealt.how == "10% held out, seed 0"


def test_copies_stay_together_if_asked(faces):
    doubled = CropDataset(np.repeat(faces.crops, 2, axis=0), np.repeat(faces.label, 2), np.full(120, UNSPLIT))

    def shared(parts):
        training, held_out = ({crop.tobytes() for crop in part.crops} for part in parts)
        return training & held_out

    dealt = splits_for_training(doubled, share=0.3, seed=0)
    assert not shared((dealt.training, dealt.validation))
    assert shared(hold_out(doubled, 0.3, copies_together=False))
