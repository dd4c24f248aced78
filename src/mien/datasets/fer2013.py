"""How FER2013 is recognised, whichever format it came in."""

import numpy as np

from mien.datasets.dataset import TRAINING, CropDataset
from mien.labels import FER7

TRAINING_COUNTS = (3995, 436, 4097, 7215, 4830, 3171, 4965)  # of each class of FER7 (Goodfellow et al. 2013)


def is_fer2013_training(data: CropDataset) -> bool:
    """Return whether crops are the Training split of FER2013, known by its published number of images of each class.

    Args:
        data: The crops, from a CSV, folders or any other format.
    """
    if data.labels != FER7 or data.splits() != (TRAINING,) or not data.is_labelled.all():
        return False
    return tuple(np.bincount(data.label, minlength=len(FER7)).tolist()) == TRAINING_COUNTS
