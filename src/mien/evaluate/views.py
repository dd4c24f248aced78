"""Test-time augmentation: fixed views of each crop, averaged."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mien.errors import check_known
from mien.evaluate.values import PredictProba
from mien.faces import Floats

TestTimeAugmentation = Literal["flip", "ten-crop"]


TEN_CROP_SHIFT_PX = 2


def test_time_augment(predict_proba: PredictProba, method: TestTimeAugmentation) -> PredictProba:
    """Return a model that averages the probabilities of fixed views of each crop; nothing is random.

    Args:
        predict_proba: (n, 48, 48) uint8 → (n, C) probabilities.
        method: `"flip"`: the crop and its mirror image. `"ten-crop"`: the centre and the four corners, 2 pixels away,
            each with its mirror image (Krizhevsky et al. 2012); a network that looks at the central 44 of 48 pixels
            sees exactly the five 44-pixel views, any other sees the border repeated.

    Raises:
        InputError: The method is unknown.
    """
    check_known("test-time augmentation", method, TEST_TIME_VIEWS)
    views = TEST_TIME_VIEWS[method]

    def averaged(crops: NDArray[np.uint8]) -> Floats:
        shown = views(crops)
        total = np.sum([predict_proba(view) for view in shown], axis=0, dtype=np.float64)
        return np.asarray(total / len(shown), np.float32)

    return averaged


test_time_augment.__test__ = False  # type: ignore[attr-defined]  # pytest takes the name for a test's


def _flip_views(crops: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [crops, np.ascontiguousarray(crops[:, :, ::-1])]


def _ten_crop_views(crops: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    d, (height, width) = TEN_CROP_SHIFT_PX, crops.shape[1:]
    padded = np.pad(crops, ((0, 0), (d, d), (d, d)), mode="edge")
    corners = [(d, d), (0, 0), (0, 2 * d), (2 * d, 0), (2 * d, 2 * d)]
    shifted = [np.ascontiguousarray(padded[:, y : y + height, x : x + width]) for y, x in corners]
    return [view for one in shifted for view in _flip_views(one)]


TEST_TIME_VIEWS: dict[str, Callable[[NDArray[np.uint8]], list[NDArray[np.uint8]]]] = {
    "flip": _flip_views,
    "ten-crop": _ten_crop_views,
}
