"""An image of what the augmentations of training do to real crops."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.errors import InputError
from mien.faces import CROP_PX, Floats
from mien.train.augment import Augment, AugmentSettings, transformations

CELL_PX = 2 * CROP_PX
SHOWN = 0.85  # of the change of the wildest draw, by the mean difference of the pixels
GAP_PX = 4
TITLE_PX = 18
DRAWS = 12  # per cell; a middling one is shown, neither the mildest nor the wildest
EVEN_MIXUP = 8.0  # small parameters mostly leave one image of the two, which shows nothing
VISIBLE = 0.5  # mean change, in gray levels, from which a draw counts as one that changed something

Transformation = Callable[[Tensor], Tensor]


def augment_sheet(
    crops: NDArray[np.uint8], *, settings: AugmentSettings | None = None, rows: int = 6, tries: int = 4, seed: int = 0
) -> NDArray[np.uint8]:
    """Draw sample crops under each transformation alone and under all together.

    Args:
        crops: (N, 48, 48) uint8 to choose from.
        settings: The augmentation; None takes the defaults.
        rows: Sample crops at most, one per row.
        tries: Columns of everything together.
        seed: Seed of the samples and of every draw.

    Returns:
        (H, W) uint8 gray, a title over each column.

    Raises:
        InputError: There is no crop.
    """
    if not len(crops):
        raise InputError("an augmentation sheet needs at least one crop; read a data set that has some")
    chosen = np.random.default_rng(seed).permutation(len(crops))[:rows]
    samples = torch.from_numpy(np.ascontiguousarray(crops[np.sort(chosen)]))
    used = settings or AugmentSettings()
    shown = replace(used, mixup=EVEN_MIXUP)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        columns = [("original", _as_cells(samples))]
        columns += [(name, _typical(samples, change)) for name, change in transformations(shown).items()]
        everything = Augment(used)
        columns += [(f"all, try {i + 1}", _as_cells(everything(samples))) for i in range(tries)]
    return _draw(columns)


def _typical(samples: Tensor, change: Transformation) -> list[NDArray[np.uint8]]:
    """Return, for each sample, a draw that changed it nearly as much as the wildest; milder ones look like nothing."""
    plain = samples.unsqueeze(1).to(torch.float32) / 255
    drawn = 255 * torch.stack([change(plain) for _ in range(DRAWS)])
    strength = (drawn - 255 * plain).abs().mean(dim=(2, 3, 4)).numpy()
    distance = np.abs(strength - SHOWN * strength.max(axis=0))
    chosen = np.where(strength > VISIBLE, distance, np.inf).argmin(axis=0)
    return [cell for place, draw in enumerate(chosen) for cell in _as_cells(drawn[draw, place])]


def _as_cells(views: Tensor) -> list[NDArray[np.uint8]]:
    return [_cell(view) for view in _pixels(views)]


def _pixels(views: Tensor) -> Floats:
    return views.reshape(-1, *views.shape[-2:]).to(torch.float32).numpy()


def _cell(view: Floats) -> NDArray[np.uint8]:
    gray = np.clip(view, 0, 255).round().astype(np.uint8)
    return np.asarray(cv2.resize(gray, (CELL_PX, CELL_PX), interpolation=cv2.INTER_LINEAR), np.uint8)


def _draw(columns: list[tuple[str, list[NDArray[np.uint8]]]]) -> NDArray[np.uint8]:
    step = CELL_PX + GAP_PX
    rows = len(columns[0][1])
    sheet = np.full((TITLE_PX + rows * step + GAP_PX, len(columns) * step + GAP_PX), 255, np.uint8)
    for x, (title, cells) in enumerate(columns):
        left = GAP_PX + x * step
        size = min(0.38, 0.38 * CELL_PX / cv2.getTextSize(title, cv2.FONT_HERSHEY_SIMPLEX, 0.38, 1)[0][0])
        cv2.putText(sheet, title, (left, TITLE_PX - 4), cv2.FONT_HERSHEY_SIMPLEX, size, 0, 1, cv2.LINE_AA)
        for y, cell in enumerate(cells):
            top = TITLE_PX + GAP_PX + y * step
            sheet[top : top + CELL_PX, left : left + CELL_PX] = cell
    return sheet
