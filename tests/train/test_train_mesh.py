"""Training of the mesh: points move with views, runs go on where they stopped, files answer what nets answer."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from mien._onnxruntime import ort
from mien.faces import MESH_POINTS
from mien.train import mesh
from mien.train.mesh import MeshCrops, MeshNet, fit_mesh, mesh_crops, mesh_errors, mirror_order, random_views

SWAP = np.arange(MESH_POINTS).reshape(-1, 2)[:, ::-1].ravel()  # of the made faces: neighbours are each other's mirror


def drawn_meshes(n, *, seed=0):
    """Crops with one bright spot each, where all points of the face lie; what is left lies right in a mirror."""
    rng = np.random.default_rng(seed)
    spots = rng.uniform(16, 47, (n, 2))
    y, x = np.mgrid[: mesh.SIDE, : mesh.SIDE]
    away = (x - spots[:, 0, None, None]) ** 2 + (y - spots[:, 1, None, None]) ** 2
    crops = (200 * np.exp(-away / 8) + rng.uniform(0, 20, (n, 1, 1))).astype(np.uint8)
    points = np.zeros((n, MESH_POINTS, 3), np.float32)
    points[..., :2] = spots[:, None]
    points[..., 2] = 1
    return MeshCrops(crops, points, np.full(n, 20, np.float32), SWAP)


def brightest(views):
    flat = views[:, 0].flatten(1).argmax(dim=1).numpy()
    return np.stack([flat % mesh.SIDE, flat // mesh.SIDE], axis=1)


def test_points_move_with_the_view():
    faces = drawn_meshes(200)
    points = faces.points.copy()
    points[:, 0, 0] += 3  # one point to the right of the spot: in a mirror, its partner lies to the left of it
    views, moved = random_views(
        torch.from_numpy(faces.crops),
        torch.from_numpy(points),
        torch.from_numpy(SWAP),
        torch.Generator().manual_seed(0),
    )
    xy = moved[..., :2].numpy()
    inside = ((xy[:, 2] > 2) & (xy[:, 2] < mesh.SIDE - 3)).all(axis=1)
    assert inside.sum() > 150
    assert np.abs(brightest(views) - xy[:, 2])[inside].max() <= 1
    scale = moved[:, 2, 2].numpy()
    assert 0.79 < scale.min() < 0.9 < 1.1 < scale.max() < 1.26
    aside = np.linalg.norm(xy[:, :2] - xy[:, 2:3], axis=2)
    flipped = aside[:, 1] > aside[:, 0]
    assert 70 < flipped.sum() < 130
    np.testing.assert_allclose(aside[np.arange(200), flipped.astype(int)], 3 * scale, rtol=1e-3)
    along = (xy[:, 1] - xy[:, 2])[flipped]
    assert (along[:, 0] < 0).all(), "in a mirror the point lies on the other side"


def test_the_mirror_order_is_found_from_answers():
    rng = np.random.default_rng(1)
    plain = rng.uniform(0, mesh.SIDE, (MESH_POINTS, 3)).astype(np.float32)
    mirrored = plain[SWAP] * (-1, 1, 1) + (mesh.SIDE - 1, 0, 0)
    answers = np.stack([plain, mirrored]) + rng.normal(0, 0.2, (6, 2, MESH_POINTS, 3))
    np.testing.assert_array_equal(mirror_order(answers.astype(np.float32)), SWAP)


def test_only_sure_and_steady_answers_are_learned():
    rng = np.random.default_rng(2)
    plain = rng.uniform(10, 50, (MESH_POINTS, 3)).astype(np.float32)
    answers = np.stack([plain, plain[SWAP] * (-1, 1, 1) + (mesh.SIDE - 1, 0, 0)])
    answers = np.repeat(answers[None], 4, axis=0).astype(np.float32)
    answers[1, 1, :, 0] += 9  # the mirror image says something else
    presence = np.full((4, 2), 0.99, np.float32)
    presence[2, 0] = 0.5
    crops, good = mesh_crops(np.zeros((4, mesh.SIDE, mesh.SIDE), np.uint8), answers, presence)
    assert good.tolist() == [True, False, False, True]
    np.testing.assert_allclose(crops.points[0], plain, atol=1e-3)


def test_views_without_a_face_are_others():
    views = torch.from_numpy(drawn_meshes(60).crops)[:, None].float()
    none = mesh.without_faces(views, torch.Generator().manual_seed(0))
    assert none.shape == views.shape
    assert (none - views).abs().flatten(1).amax(dim=1).min() > 1
    assert 0 <= none.min() <= none.max() <= 255


def test_a_run_learns_goes_on_and_is_exported(tmp_path):
    training, held_out = drawn_meshes(96), drawn_meshes(40, seed=5)
    others = np.zeros((4, mesh.SIDE, mesh.SIDE), np.uint8)
    options = {"batch_size": 16, "lr": 5e-3, "epochs": 6}
    whole = list(fit_mesh(training, held_out, others, tmp_path / "whole.pt", **options))
    assert whole[-1].errors.median() < 0.75 * mesh_errors(untrained(training), held_out).median()

    run = fit_mesh(training, held_out, others, tmp_path / "stopped.pt", **options)
    next(run)
    run.close()
    rest = list(fit_mesh(training, held_out, others, tmp_path / "stopped.pt", **options))
    assert [done.epoch for done in rest] == [2, 3, 4, 5, 6]
    np.testing.assert_allclose(rest[-1].errors.each, whole[-1].errors.each, atol=1e-5)

    path = tmp_path / "mesh.onnx"
    mesh.export_mesh(whole[-1].net, path, about={"name": "made", "licence": "none"})
    session = ort.InferenceSession(path.read_bytes())
    points, presence = session.run(["points", "presence"], {"crops": held_out.crops})
    assert points.shape == (40, MESH_POINTS, 3) and presence.shape == (40,)
    away = np.linalg.norm(points[..., :2] - held_out.points[..., :2], axis=2) / 20
    np.testing.assert_allclose(away, whole[-1].errors.each, atol=0.02)
    assert {p.key: p.value for p in onnx.load(path).metadata_props} == {"name": "made", "licence": "none"}


def untrained(data):
    torch.manual_seed(0)
    return MeshNet(*mesh.principal_shapes(data.points)).eval()


@pytest.mark.parametrize("side", [48, 64])
def test_crops_of_both_sizes_become_wide(side):
    crops = np.arange(2 * side * side, dtype=np.uint32).astype(np.uint8).reshape(2, side, side)
    wide = mesh.wide_crops(crops)
    assert wide.shape == (2, 64, 64)
    margin = (64 - side) // 2
    np.testing.assert_array_equal(wide[:, margin : 64 - margin, margin : 64 - margin], crops)


def test_the_median_is_of_the_points_asked_for():
    errors = mesh.MeshErrors(np.tile(np.arange(MESH_POINTS, dtype=np.float32), (3, 1)), np.zeros(3, np.float32))
    assert errors.median((10, 20)) == 15
    assert replace(errors, each=errors.each * 2).median() == MESH_POINTS - 1
