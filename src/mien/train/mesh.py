"""The mesh of a face, learned by a network small enough for every frame from one that is not: `mien-mesh`.

A teacher (MediaPipe's face mesh) answers each crop and its mirror image once; the mean of both is what the network
learns, from views that are turned, scaled, shifted, flipped and spoilt, so that points move with the view exactly.
Crops have 64 px, whose middle 48 are the standard crop.
"""

import io
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import checker, helper
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mien.attributes.mesh import FaceMesh
from mien.detect.align import BOX_PX
from mien.faces import CROP_PX, MESH_POINTS, Faces, Floats
from mien.files import write_whole
from mien.train.augment import NO_AUGMENTATION, Augment
from mien.train.callbacks import warmed_average
from mien.train.export import store_half, trace
from mien.train.folding import folded
from mien.train.nets.blocks import ConvUnit, ResidualBlock, standardise
from mien.train.targets import epoch_seed

SIDE = 64
MARGIN = (SIDE - CROP_PX) // 2
MIDDLE = (SIDE - 1) / 2
OUTER_CORNERS = (33, 263)  # of the eyes; their distance is the unit of errors
EYES = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173,
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398,
)  # fmt: skip
LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
)  # fmt: skip
BROWS = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46, 300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
WEIGHTS = ((EYES, 3.0), (LIPS, 2.5), (BROWS, 2.0))  # what faces say much with counts more
APART = (  # pairs whose distance is a measure of its own: lids, lips, corners of the mouth, brows over eyes
    (159, 145), (158, 153), (160, 144), (386, 374), (385, 380), (387, 373), (13, 14), (82, 87), (312, 317), (61, 291),
    (0, 17), (105, 159), (334, 386), (107, 336), (65, 158), (295, 385), (61, 1), (291, 1),
)  # fmt: skip
DEPTH_WEIGHT, APART_WEIGHT, PRESENCE_WEIGHT = 0.3, 0.7, 0.5
SURE, NO_FACE = 0.95, 0.12  # the teacher's presence of what is learned as a face, and of what is learned as none
MOST_DISAGREEMENT = 0.08  # between the teacher's answers to a crop and to its mirror image, in eye distances
LEAST_EYES_PX = 10.0
TURNED, TURNED_DEG, USUAL_DEG = 0.35, 45.0, 14.0  # detectors without landmarks leave crops as they stand
ZOOM, SHIFT_PX = 0.22, 6.0
SPOIL = replace(
    NO_AUGMENTATION,
    view_px=CROP_PX,
    contrast=0.4,
    brightness=0.3,
    blur=0.15,
    low_resolution=0.25,
    noise=0.25,
    erase=0.25,
)
SHAPES = 80  # components of the basis that the points are a sum of
AVERAGED = 0.998
WARM_STEPS = 300
NONE_SHARE = 8  # one view without a face for so many with one


class MeshNet(nn.Module):
    """A strided trunk, 80 coefficients, and the points as a linear map of them, at first their principal components."""

    def __init__(self, mean: Floats | None = None, basis: Floats | None = None) -> None:
        """Build the network.

        Args:
            mean: (1404,) the mean of the points.
            basis: (80, 1404) their principal components, each as long as its standard deviation.
        """
        super().__init__()
        self.trunk = nn.Sequential(
            ConvUnit(1, 24, stride=2), ConvUnit(24, 32), nn.MaxPool2d(2),
            ConvUnit(32, 40), ResidualBlock(40, attention=False), nn.MaxPool2d(2),
            ConvUnit(40, 96), ResidualBlock(96, attention=False), nn.MaxPool2d(2),
            ConvUnit(96, 96),
        )  # fmt: skip
        self.shape = nn.Linear(96 * (SIDE // 16) ** 2, SHAPES)
        self.points = nn.Linear(SHAPES, MESH_POINTS * 3)
        self.presence = nn.Linear(SHAPES, 1)
        if mean is not None and basis is not None:
            with torch.no_grad():
                self.points.weight.copy_(torch.from_numpy(basis.T))
                self.points.bias.copy_(torch.from_numpy(mean))

    def forward(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Return points and the logit of «there is a face».

        Args:
            views: (N, 1, 64, 64) float32, standardised.

        Returns:
            (N, 468, 3) float32 in pixels of the crop, and (N,) float32.
        """
        shape = self.shape(self.trunk(views).float().flatten(1))
        return self.points(shape).view(-1, MESH_POINTS, 3), self.presence(torch.relu(shape)).squeeze(1)


@dataclass(frozen=True)
class MeshCrops:
    """Crops and what the teacher says of them.

    Attributes:
        crops: (N, 64, 64) uint8 gray.
        points: (N, 468, 3) float32, pixel centres of the crop.
        unit_px: (N,) float32, distance of the outer corners of the eyes in three dimensions, pixels.
        order: (468,) which point becomes which in a mirror.
    """

    crops: NDArray[np.uint8]
    points: Floats
    unit_px: Floats
    order: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of crops."""
        return len(self.crops)

    def where(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> "MeshCrops":
        """Return some of the crops."""
        return replace(self, crops=self.crops[chosen], points=self.points[chosen], unit_px=self.unit_px[chosen])


def wide_crops(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return crops of 64 px; those of 48 get a margin that repeats their border.

    Args:
        crops: (N, 48, 48) or (N, 64, 64) uint8.
    """
    margin = (SIDE - crops.shape[1]) // 2
    return np.pad(crops, ((0, 0), (margin, margin), (margin, margin)), mode="edge")


def teacher_answers(
    crops: NDArray[np.uint8], *, progress: Callable[[int], object] = lambda _: None
) -> tuple[Floats, Floats]:
    """Ask the teacher about crops and their mirror images.

    Args:
        crops: (N, 64, 64) uint8.
        progress: Called with the number of crops done.

    Returns:
        (N, 2, 468, 3) float32 points of the crop and of its mirror image, pixel centres; (N, 2) float32 presence.

    Raises:
        MissingWeightsError: `mien models pull mesh` has not been run.
    """
    teacher = FaceMesh("mediapipe")
    face = Faces(xyxy=(BOX_PX + MARGIN)[None].astype(np.float32), score=np.ones(1, np.float32))
    points = np.zeros((len(crops), 2, MESH_POINTS, 3), np.float32)
    presence = np.zeros((len(crops), 2), np.float32)
    for number, crop in enumerate(crops):
        for mirrored, shown in enumerate((crop, crop[:, ::-1])):
            found = teacher.find(np.repeat(shown[..., None], 3, axis=2), face)
            points[number, mirrored] = found.points[0]
            presence[number, mirrored] = found.presence[0]
        progress(number + 1)
    points[..., :2] -= 0.5  # from the outer edge to pixel centres
    return points, presence


def mirror_order(points: Floats) -> NDArray[np.int64]:
    """Find which point becomes which in a mirror, from answers to crops and to their mirror images.

    Args:
        points: (N, 2, 468, 3) as `teacher_answers` gives them.

    Returns:
        (468,) int64: point i of a face is point `order[i]` of its mirror image.
    """
    plain, mirrored = points.mean(axis=0, dtype=np.float64)
    mirrored[:, 0] = SIDE - 1 - mirrored[:, 0]
    apart = ((plain[:, None] - mirrored[None]) ** 2 * (1, 1, 0.5)).sum(axis=2)
    return np.asarray(linear_sum_assignment(apart)[1], np.int64)


def mesh_crops(crops: NDArray[np.uint8], points: Floats, presence: Floats) -> tuple[MeshCrops, NDArray[np.bool_]]:
    """Return what can be learned from a teacher's answers, the mean of both, and which crops those are.

    Args:
        crops: (N, 64, 64) uint8.
        points: (N, 2, 468, 3), as `teacher_answers` gives them.
        presence: (N, 2).

    Returns:
        All N crops with the mean answer; (N,) whether it is sure of a face and nearly the same in the mirror.
    """
    order = mirror_order(points[presence.min(axis=1) > SURE])
    plain, mirrored = points[:, 0], points[:, 1].copy()
    mirrored[..., 0] = SIDE - 1 - mirrored[..., 0]
    mirrored = mirrored[:, order]
    one, other = OUTER_CORNERS
    unit = np.linalg.norm(plain[:, one] - plain[:, other], axis=1)
    apart = np.linalg.norm((plain - mirrored)[..., :2], axis=2).mean(axis=1) / np.maximum(unit, 1)
    good = (presence.min(axis=1) > SURE) & (apart < MOST_DISAGREEMENT) & (unit > LEAST_EYES_PX)
    return MeshCrops(crops, ((plain + mirrored) / 2).astype(np.float32), unit.astype(np.float32), order), good


def random_views(
    crops: Tensor, points: Tensor, order: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Return crops flipped, turned, scaled and shifted at random, with their points.

    Args:
        crops: (N, 64, 64) uint8.
        points: (N, 468, 3) float32.
        order: (468,) int64, as `mirror_order` finds it.
        generator: Source of the draws.

    Returns:
        (N, 1, 64, 64) float32 in 0-255, and (N, 468, 3) float32.
    """
    n = len(crops)

    def drawn(most: float) -> Tensor:
        return (torch.rand(n, generator=generator) * 2 - 1) * most

    flipped = torch.rand(n, generator=generator) < 0.5
    turned = torch.rand(n, generator=generator) < TURNED
    angle = torch.deg2rad(torch.where(turned, drawn(TURNED_DEG), drawn(USUAL_DEG)))
    scale, shift = torch.exp(drawn(ZOOM)), torch.stack([drawn(SHIFT_PX), drawn(SHIFT_PX)], dim=1)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    turn = torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)

    crops = torch.where(flipped[:, None, None], crops.flip(2), crops)
    other = points[:, order] * torch.tensor([-1.0, 1, 1]) + torch.tensor([SIDE - 1.0, 0, 0])
    points = torch.where(flipped[:, None, None], other, points)
    xy = torch.einsum("nij,nkj->nki", turn, points[..., :2] - MIDDLE) + MIDDLE + shift[:, None]
    back = torch.linalg.inv(turn)
    theta = torch.cat([back, -(back @ shift[:, :, None]) / (SIDE / 2)], dim=2)
    grid = nn.functional.affine_grid(theta, [n, 1, SIDE, SIDE], align_corners=False)
    views = nn.functional.grid_sample(
        crops[:, None].to(torch.float32), grid, padding_mode="border", align_corners=False
    )
    return views, torch.cat([xy, points[..., 2:] * scale[:, None, None]], dim=2)


def without_faces(views: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return images without a face made from images with one: tiles shuffled, a small part, a corner, noise.

    Args:
        views: (N, 1, 64, 64) float32.
        generator: Source of the draws.
    """
    return torch.stack([_without_face(view, generator) for view in views])


def _without_face(view: Tensor, generator: torch.Generator | None) -> Tensor:
    def drawn(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    kind = drawn(0, 5)
    if kind <= 1:
        tiles = (4, 2)[kind]
        side = SIDE // tiles
        parts = view.view(tiles, side, tiles, side).transpose(1, 2).reshape(-1, side, side)
        mixed = parts[torch.randperm(len(parts), generator=generator)] if tiles > 2 else parts.roll(1, 0)
        return mixed.view(tiles, tiles, side, side).transpose(1, 2).reshape(1, SIDE, SIDE)
    if kind == 2:
        side = drawn(8, 20)
        top, left = drawn(0, SIDE - side), drawn(0, SIDE - side)
        return _enlarged(view[:, top : top + side, left : left + side])
    if kind == 3:
        side = drawn(2, 20)
        return _enlarged(255 * torch.rand(1, side, side, generator=generator))
    moved = torch.full_like(view, float(view.mean()))
    kept = SIDE * 2 // 5  # what is left of a face that lies mostly outside
    corner = drawn(0, 4)
    rows = slice(0, kept) if corner & 1 else slice(SIDE - kept, SIDE)
    columns = slice(0, kept) if corner & 2 else slice(SIDE - kept, SIDE)
    opposite = slice(SIDE - kept, SIDE) if corner & 1 else slice(0, kept)
    beside = slice(SIDE - kept, SIDE) if corner & 2 else slice(0, kept)
    moved[:, rows, columns] = view[:, opposite, beside]
    return moved


def _enlarged(part: Tensor) -> Tensor:
    return nn.functional.interpolate(part[None], size=(SIDE, SIDE), mode="bilinear")[0]


def principal_shapes(points: Floats) -> tuple[Floats, Floats]:
    """Return mean and principal components of points, for `MeshNet`.

    Args:
        points: (N, 468, 3) float32.
    """
    rows = points.reshape(len(points), -1)
    mean = rows.mean(axis=0)
    _, lengths, components = np.linalg.svd(rows - mean, full_matrices=False)
    basis = components[:SHAPES] * (lengths[:SHAPES, None] / np.sqrt(len(rows)))
    return mean.astype(np.float32), basis.astype(np.float32)


@dataclass(frozen=True)
class MeshErrors:
    """How far a network is from its teacher, in distances of the outer corners of the eyes.

    Attributes:
        each: (N, 468) float32, of every point in the image plane.
        presence: (N,) float32, logits.
    """

    each: Floats
    presence: Floats

    def median(self, points: tuple[int, ...] = ()) -> float:
        """Return the median over faces of the mean error of some points, or of all."""
        return float(np.median(self.each[:, list(points) or slice(None)].mean(axis=1)))


@torch.inference_mode()
def mesh_errors(net: MeshNet, data: MeshCrops) -> MeshErrors:
    """Measure a network on crops that it did not learn from."""
    net.eval()
    each, presence = [], []
    for start in range(0, len(data), 256):
        part = data.where(np.arange(start, min(start + 256, len(data))))
        points, logits = net(standardise(torch.from_numpy(part.crops)[:, None].to(torch.float32)))
        away = np.linalg.norm(points.numpy()[..., :2] - part.points[..., :2], axis=2)
        each.append(away / part.unit_px[:, None])
        presence.append(logits.numpy())
    return MeshErrors(np.concatenate(each), np.concatenate(presence))


@dataclass(frozen=True)
class MeshEpoch:
    """A run after an epoch.

    Attributes:
        epoch: Its number, from 1.
        errors: What the network does on crops that are held out.
        net: The moving average of the networks so far.
    """

    epoch: int
    errors: MeshErrors
    net: MeshNet


def fit_mesh(
    training: MeshCrops, held_out: MeshCrops, others: NDArray[np.uint8], checkpoint: Path, *,
    epochs: int = 24, batch_size: int = 128, lr: float = 2e-3, seed: int = 0, bfloat16: bool = False,
) -> Iterator[MeshEpoch]:  # fmt: skip
    """Train `MeshNet`, and yield after each epoch how far it is.

    A run that was stopped goes on after its last whole epoch.

    Args:
        training: What is learned.
        held_out: What is measured on.
        others: (M, 64, 64) uint8 in which the teacher sees no face.
        checkpoint: File that holds the run; it appears whole or not at all.
        epochs: Passes over the data, with one cosine of the learning rate.
        batch_size: Faces per step.
        lr: Peak learning rate of AdamW.
        seed: Seed of everything random.
        bfloat16: Whether the trunk computes in half precision, for processors that do so natively.
    """
    torch.manual_seed(seed)
    steps = len(training) // batch_size
    crops, points = torch.from_numpy(training.crops), torch.from_numpy(training.points)
    order, nothing = torch.from_numpy(training.order), torch.from_numpy(others)
    chosen = torch.randperm(len(training))[:12_000]
    net = MeshNet(*principal_shapes(random_views(crops[chosen], points[chosen], order)[1].numpy()))
    average = AveragedModel(net, avg_fn=warmed_average(AVERAGED), use_buffers=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, epochs * steps))
    parts: dict[str, Any] = {"net": net, "average": average, "optimizer": optimizer, "schedule": schedule}
    done = 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        done = state.pop("done")
        for name, part in parts.items():
            part.load_state_dict(state[name])
    spoil = Augment(SPOIL)
    for epoch in range(done, epochs):
        torch.manual_seed(epoch_seed(seed, epoch))
        net.train()
        for batch in torch.randperm(len(crops))[: steps * batch_size].view(steps, batch_size):
            views, wanted = random_views(crops[batch], points[batch], order)
            spoilt = spoil(views[:, 0])
            none = without_faces(spoilt[: batch_size // NONE_SHARE])
            if len(nothing):
                none = torch.cat([none, nothing[torch.randint(len(nothing), (4,))][:, None].to(torch.float32)])
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
                found, logits = net(standardise(torch.cat([spoilt, none])))
            loss = _loss(found[:batch_size].float(), wanted, logits.float())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(net)
        state = {name: part.state_dict() for name, part in parts.items()} | {"done": epoch + 1}
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_whole(checkpoint, buffer.getvalue())
        averaged = cast(MeshNet, average.module)
        yield MeshEpoch(epoch + 1, mesh_errors(averaged, held_out), averaged)


def _rate(step: int, steps: int) -> float:
    warm = min(WARM_STEPS, steps / 10)
    return min(1.0, (step + 1) / warm) * (1 + math.cos(math.pi * min(1.0, step / steps))) / 2


def _loss(found: Tensor, wanted: Tensor, presence: Tensor) -> Tensor:
    """Return the loss of a batch whose first views show faces; the other logits belong to views without one."""
    weights = torch.ones(MESH_POINTS)
    for points, weight in WEIGHTS:
        weights[list(points)] = weight
    weights = weights / weights.mean()
    away = ((found - wanted)[..., :2].square().sum(dim=2) + 0.01).sqrt()
    depth = (found - wanted)[..., 2].abs()
    one, other = torch.tensor(APART).T
    apart = (found[:, one] - found[:, other] - wanted[:, one] + wanted[:, other])[..., :2].abs().sum(dim=2)
    truth = (torch.arange(len(presence)) < len(found)).to(presence.dtype)
    there = nn.functional.binary_cross_entropy_with_logits(presence, truth)
    return (
        (away * weights).mean()
        + DEPTH_WEIGHT * (depth * weights).mean()
        + APART_WEIGHT * apart.mean()
        + PRESENCE_WEIGHT * there
    )


class MeshGraph(nn.Module):
    """What is exported: preprocessing, network and the probability of a face."""

    def __init__(self, net: MeshNet) -> None:
        """Fold batch normalisation; the network is not changed."""
        super().__init__()
        self.net = folded(net)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, 468, 3) points in pixel centres of the crop and (N,) presence 0-1, of (N, 64, 64) uint8 crops."""
        points, logits = self.net(standardise(crops[:, None].to(torch.float32)))
        return points, logits.sigmoid()


def export_mesh(net: MeshNet, path: Path, *, about: Mapping[str, str]) -> None:
    """Write a network as ONNX, weights in half precision: `crops` (N, 64, 64) uint8 in, `points` and `presence` out.

    Args:
        net: A trained network.
        path: The file to write; it appears whole or not at all.
        about: What the file says about itself: version, licence, data, how it was trained.
    """
    model = trace(MeshGraph(net), ["points", "presence"], side=SIDE)
    store_half(model, least_dims=2)
    model.producer_name = "mien"
    helper.set_model_props(model, dict(about))
    checker.check_model(model)
    write_whole(path, model.SerializeToString())
