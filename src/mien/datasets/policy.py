"""Which crops a network learns from, and which choose its best epoch."""

from dataclasses import dataclass, replace

from mien.datasets.dataset import PUBLIC_TEST, TEST, TRAINING, UNSPLIT, VALIDATION, CropDataset
from mien.datasets.duplicates import exact_groups
from mien.datasets.splits import stratified_split
from mien.errors import InputError, listed

HELD_OUT_SHARE = 0.1
FEW_VALIDATION_CROPS = 100  # with fewer, one crop is a point of accuracy or more, and the loss tells epochs apart


@dataclass(frozen=True)
class TrainingSplits:
    """Two parts of a data set for training.

    Attributes:
        training: The crops to learn from.
        validation: The crops that choose the best epoch.
        how: How `validation` was chosen, for people.
    """

    training: CropDataset
    validation: CropDataset
    how: str


def splits_for_training(
    data: CropDataset, *, validation: str | None = None, share: float | None = None, seed: int = 0
) -> TrainingSplits:
    """Choose the crops to train on and those to validate on, as `mien train` does.

    A split that `validation` names is taken. Otherwise the data's own Validation or PublicTest is, unless `share` asks
    for something else; where the data have neither, a tenth of the training crops is held out.

        splits = splits_for_training(read_dataset("my-faces").data, share=0.2, seed=1)
        fit(splits.training, splits.validation, out=Path("run"))

    Args:
        data: The data set. Without a Training split, its crops without a split are dealt.
        validation: Name of the split that validates.
        share: Hold out this share of the training crops, above 0 and below 1, even where the data have such a split.
        seed: Decides which crops are held out.

    Raises:
        InputError: The data lack the split, or are too few to hold some out.
        MissingExtraError: Crops are held out, and scikit-learn is not installed.
    """
    present = data.splits()
    if validation is not None:
        return TrainingSplits(data.split(TRAINING), data.split(validation), validation)
    if share is None and TRAINING in present and (VALIDATION in present or PUBLIC_TEST in present):
        training, own = training_and_validation(data)
        return TrainingSplits(training, own, own.splits()[0])
    share = HELD_OUT_SHARE if share is None else share
    training, held_out = hold_out(data, share, seed=seed)
    return TrainingSplits(training, held_out, f"{share:.0%} held out, seed {seed}")


def training_and_validation(data: CropDataset) -> tuple[CropDataset, CropDataset]:
    """Return the split to fit on and the split that chooses the best epoch.

    Validation is the first of Validation, PublicTest and Test that the data set has; PrivateTest never is.

    Args:
        data: A data set with a Training split.

    Raises:
        InputError: There is no such pair; the message says how to make one.
    """
    present = data.splits()
    validation = next((name for name in (VALIDATION, PUBLIC_TEST, TEST) if name in present), None)
    if TRAINING not in present or validation is None:
        raise InputError(
            f"training needs the split Training and one of Validation, PublicTest or Test; the data has "
            f"{listed(present) or 'no crop at all'}; make one with: mien data split stratified"
        )
    return data.split(TRAINING), data.split(validation)


def hold_out(
    data: CropDataset, share: float, *, seed: int = 0, copies_together: bool = True
) -> tuple[CropDataset, CropDataset]:
    """Deal the labelled training crops to the splits Training and Validation, with the same mix of expressions in both.

    Args:
        data: The data set. Without a Training split, its crops without a split are dealt.
        share: Share of the crops that validate, above 0 and below 1.
        seed: Decides which.
        copies_together: Whether pixel-identical crops stay in one split.

    Raises:
        InputError: The data have no such crops, or too few.
        MissingExtraError: scikit-learn is not installed.
    """
    pool = data.split(TRAINING if TRAINING in data.splits() else UNSPLIT)
    pool = pool.where(pool.is_labelled)
    groups = exact_groups(pool.crops) if copies_together else None
    shares = {TRAINING: 1 - share, VALIDATION: share}
    pool = replace(pool, usage=stratified_split(pool, shares=shares, seed=seed, groups=groups))
    return pool.split(TRAINING), pool.split(VALIDATION)
