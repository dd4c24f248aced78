import subprocess
import sys
from dataclasses import replace
from importlib import resources

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import Faces, Frame
from mien.labels import COLOURS, EMOJI, FER7, FERPLUS8, LabelSet
from mien.output.draw.colours import DARK, FACE_COLOUR, WHITE, contrast_ratio, expression_colour, ink_on
from mien.output.draw.faces import draw_faces
from mien.output.draw.letters import text_mask, text_width
from mien.output.draw.marks import marks_of
from mien.output.draw.style import DrawStyle
from mien.video.veil import Veil

ASTRONAUT_BOX = (178, 72, 272, 190)
BOX_ONLY = DrawStyle(tag=False)


def make_faces(
    boxes: list[tuple[float, float, float, float]], names: list[str] | None = None, labels: LabelSet = FER7
) -> Faces:
    """Return faces whose probabilities give 0.79 to the named expression and share the rest."""
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    faces = Faces(xyxy, np.full(len(xyxy), 0.98, np.float32))
    if names is None:
        return faces
    probs = np.full((len(xyxy), len(labels)), 0.21 / (len(labels) - 1), np.float32)
    probs[np.arange(len(xyxy)), [labels.index(name) for name in names]] = 0.79
    return faces.with_probs(probs, labels)


def gray(width: int, height: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 128, np.uint8)


def changed(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (before != after).any(axis=2)


def extent(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of what is set."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def share_of(image: NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    return int((np.abs(image.astype(int) - colour).max(axis=2) <= 8).sum())


def test_no_face_gives_an_identical_copy(astronaut: NDArray[np.uint8]) -> None:
    drawn = draw_faces(astronaut, Faces.empty())
    assert np.array_equal(drawn, astronaut)
    assert not np.shares_memory(drawn, astronaut)


def test_the_image_given_stays_as_it_is(astronaut: NDArray[np.uint8]) -> None:
    image = astronaut.copy()
    image.flags.writeable = False
    style = DrawStyle(bars=True, landmarks=True, blur=True)
    drawn = draw_faces(image, make_faces([ASTRONAUT_BOX], ["happy"]), style=style)
    assert np.array_equal(image, astronaut)
    assert drawn.shape == image.shape and drawn.dtype == np.uint8 and drawn.flags.writeable


def test_only_the_surroundings_of_the_face_change(astronaut: NDArray[np.uint8]) -> None:
    drawn = draw_faces(astronaut, make_faces([ASTRONAUT_BOX], ["happy"]))
    left, top, right, bottom = extent(changed(astronaut, drawn))
    assert 170 <= left <= 178 and 30 <= top < 72 and 272 <= right <= 320 and 188 <= bottom <= 194
    middle = np.s_[100:180, 190:260]
    assert np.array_equal(drawn[middle], astronaut[middle])  # the face itself stays visible


def test_box_has_the_expressions_colour_in_rgb() -> None:
    image = gray(640, 480)
    for name in FERPLUS8.names:
        drawn = draw_faces(image, make_faces([(200, 150, 400, 400)], [name], FERPLUS8), style=BOX_ONLY)
        assert share_of(drawn, COLOURS[name]) > 500
    assert share_of(draw_faces(image, make_faces([(200, 150, 400, 400)])), FACE_COLOUR) > 500


def test_a_moved_face_gives_a_moved_drawing() -> None:
    image = gray(640, 480)
    near, far = (draw_faces(image, make_faces([(x, 150, x + 120, 300)], ["sad"])) for x in (100, 240))
    assert np.array_equal(near[:, 50:400], far[:, 190:540])


def test_strided_views_are_drawn_like_their_copies(astronaut: NDArray[np.uint8]) -> None:
    view = astronaut[::-1, ::-1, ::-1]
    faces = make_faces([(100, 100, 220, 240)], ["fear"])
    assert np.array_equal(draw_faces(view, faces), draw_faces(view.copy(), faces))


@pytest.mark.parametrize("side", [64, 160, 512, 2000])
def test_sizes_follow_the_image(side: int) -> None:
    image, box = gray(side, side), tuple(v * side for v in (0.35, 0.3, 0.6, 0.65))
    drawn = draw_faces(image, make_faces([box], ["happy"]), style=DrawStyle(box=False))
    left, top, right, bottom = extent(changed(image, drawn))
    assert bottom - top == pytest.approx(max(11, 0.034 * side) * 1.7, abs=2)
    assert right - left > bottom - top


def test_scale_enlarges_the_tag() -> None:
    image, faces = gray(800, 800), make_faces([(300, 300, 500, 550)], ["angry"])
    heights = []
    for scale in (1.0, 2.0):
        _, top, _, bottom = extent(changed(image, draw_faces(image, faces, style=DrawStyle(box=False, scale=scale))))
        heights.append(bottom - top)
    assert heights[1] == pytest.approx(2 * heights[0], abs=2)


@pytest.mark.parametrize("scale", [0.0, 9.0, float("nan")])
def test_scale_out_of_range_is_refused(scale: float) -> None:
    with pytest.raises(InputError, match=r"scale must be 0\.25 to 8"):
        DrawStyle(scale=scale)


EDGES = [(-30, -40, 60, 80), (250, -40, 350, 70), (560, -20, 700, 90), (-40, 200, 60, 300), (590, 200, 700, 300),
         (-20, 420, 80, 520), (280, 430, 380, 520), (600, 440, 720, 560)]  # fmt: skip


@pytest.mark.parametrize("box", EDGES)
def test_the_whole_tag_stays_inside_at_every_border(box: tuple[float, float, float, float]) -> None:
    image = gray(640, 480)
    mask = changed(image, draw_faces(image, make_faces([box], ["sad"]), style=DrawStyle(box=False)))
    left, top, right, bottom = extent(mask)
    tag = mask[top:bottom, left:right]
    assert tag.mean() > 0.97  # a filled, rounded panel: nothing of it is cut off
    assert not tag[0, 0] and not tag[0, -1] and not tag[-1, 0] and not tag[-1, -1]


def test_boxes_beyond_the_border_show_their_line_inside() -> None:
    image = gray(200, 150)
    drawn = draw_faces(image, make_faces([(-500, -500, 900, 900)], ["happy"]), style=BOX_ONLY)
    mask = changed(image, drawn)
    assert mask[0, 100] and mask[-1, 100] and mask[75, 0] and mask[75, -1]


@pytest.mark.parametrize("box", [(-90, 10, -10, 60), (10, 300, 60, 380), (1e9, 1e9, 2e9, 2e9)])
def test_faces_outside_the_image_are_left_out(box: tuple[float, float, float, float]) -> None:
    image = gray(200, 150)
    style = DrawStyle(bars=True, blur=True)
    assert np.array_equal(draw_faces(image, make_faces([box], ["happy"]), style=style), image)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (20, 20), (48, 48)])
@pytest.mark.parametrize("box", [(0, 0, 0, 0), (0, 0, 1, 1), (-1e9, -1e9, 1e9, 1e9), (0.4, 0.4, 15.5, 18.5)])
def test_tiny_images_and_odd_boxes_are_drawn(size: tuple[int, int], box: tuple[float, ...]) -> None:
    faces = replace(
        make_faces([box], ["happy"], FERPLUS8), landmarks=np.full((1, 5, 2), 1e9, np.float32), track_id=np.array([7])
    )
    style = DrawStyle(bars=True, landmarks=True, blur=True, scale=2)
    assert draw_faces(gray(*size), faces, style=style).shape == (size[1], size[0], 3)


def tag_regions(image: NDArray[np.uint8], faces: Faces) -> list[NDArray[np.bool_]]:
    """Return where the tag of each expression's colour shows."""
    drawn = draw_faces(image, faces, style=DrawStyle(box=False)).astype(int)
    found = []
    for name in faces.expression:
        blended = 0.94 * np.array(COLOURS[str(name)]) + 0.06 * 128
        found.append(np.abs(drawn - blended).max(axis=2) <= 3)
    return found


def test_tags_of_neighbours_do_not_cover_each_other() -> None:
    image = gray(640, 480)
    boxes = [(200.0 + 45 * i, 200.0 + 5 * i, 260.0 + 45 * i, 270.0 + 5 * i) for i in range(4)]
    names = ["happy", "sad", "angry", "disgust"]
    together = tag_regions(image, make_faces(boxes, names))
    assert all(region.sum() > 300 for region in together)
    rectangles = [extent(region) for region in together]
    for i, (a1, b1, a2, b2) in enumerate(rectangles):
        for c1, d1, c2, d2 in rectangles[i + 1 :]:
            assert min(a2, c2) <= max(a1, c1) or min(b2, d2) <= max(b1, d1)


def test_a_tag_without_room_keeps_the_emoji_alone() -> None:
    image = gray(30, 60)
    drawn = draw_faces(image, make_faces([(2, 25, 28, 58)], ["happy"]), style=DrawStyle(box=False))
    left, top, right, bottom = extent(changed(image, drawn))
    assert right - left == bottom - top == round(1.7 * 11)


def test_emoji_percent_and_ids_can_be_left_out() -> None:
    image, faces = gray(640, 480), replace(make_faces([(200, 150, 400, 400)], ["happy"]), track_id=np.array([12]))
    widths = []
    for style in (DrawStyle(), DrawStyle(ids=False), DrawStyle(ids=False, percent=False),
                  DrawStyle(ids=False, percent=False, emoji=False)):  # fmt: skip
        left, _, right, _ = extent(changed(image, draw_faces(image, faces, style=replace(style, box=False))))
        widths.append(right - left)
    assert widths == sorted(widths, reverse=True) and len(set(widths)) == 4
    assert np.array_equal(draw_faces(image, faces, style=DrawStyle(box=False, tag=False)), image)


def test_several_faces_of_an_image_are_numbered_as_in_tables() -> None:
    image, style = gray(640, 480), DrawStyle(box=False)
    both = make_faces([(50, 150, 200, 400), (400, 150, 550, 400)], ["happy", "happy"])
    numbers = [mark.number for mark in marks_of(image, both, style, [None] * 2)]
    assert numbers == [f"{row['face']}: " for row in both.to_records()] == ["0: ", "1: "]
    assert [mark.number for mark in marks_of(image, both[:1], style, [None])] == [""]  # one needs no number
    tracked = replace(both, track_id=np.array([7, 4]))
    assert [mark.number for mark in marks_of(image, tracked, style, [None] * 2)] == ["#7 ", "#4 "]
    without = replace(style, ids=False)
    assert not np.array_equal(draw_faces(image, both, style=style), draw_faces(image, both, style=without))


def test_landmarks_are_drawn_where_they_are() -> None:
    image = gray(640, 480)
    points = np.array([[[240, 220], [350, 220], [300, 280], [255, 340], [340, 340]]], np.float32)
    faces = replace(make_faces([(200, 150, 400, 400)]), landmarks=points)
    drawn = draw_faces(image, faces, style=DrawStyle(box=False, tag=False, landmarks=True))
    assert all(tuple(drawn[int(y), int(x)]) == WHITE for x, y in points[0])
    count, _, _, centres = cv2.connectedComponentsWithStats(changed(image, drawn).astype(np.uint8))
    assert count == 6  # the background and five points
    assert sorted(centres[1:].round().tolist()) == sorted(points[0].tolist())


def test_bars_are_as_long_as_the_probabilities() -> None:
    image = gray(800, 600)
    faces = make_faces([(300, 200, 500, 450)], ["surprise"])
    drawn = draw_faces(image, faces, style=DrawStyle(box=False, tag=False, bars=True))
    left, _, right, _ = extent(changed(image, drawn))
    assert left > 500 and right <= 800  # beside the face
    lengths = {name: 0 for name in FER7.names}
    for name in FER7.names:
        found = np.abs(drawn.astype(int) - COLOURS[name]).max(axis=2) <= 2
        lengths[name] = int(found.sum(axis=1).max())
    assert max(lengths, key=lambda name: lengths[name]) == "surprise"
    assert lengths["surprise"] / max(1, lengths["angry"]) > 10


def test_bars_need_probabilities() -> None:
    image, faces = gray(640, 480), make_faces([(200, 150, 400, 400)])
    assert np.array_equal(draw_faces(image, faces, style=DrawStyle(bars=True)), draw_faces(image, faces))


def test_blur_leaves_no_detail_of_the_face(astronaut: NDArray[np.uint8]) -> None:
    style = DrawStyle(box=False, tag=False, blur=True)
    drawn = draw_faces(astronaut, make_faces([ASTRONAUT_BOX], ["happy"]), style=style)
    x1, y1, x2, y2 = ASTRONAUT_BOX
    detail = [float(cv2.Laplacian(im[y1:y2, x1:x2], cv2.CV_64F).var()) for im in (astronaut, drawn)]
    assert detail[1] < detail[0] / 100
    assert extent(changed(astronaut, drawn)) == pytest.approx((167, 58, 283, 204), abs=1)


def test_blur_of_one_face_depends_on_the_original_alone(astronaut: NDArray[np.uint8]) -> None:
    style = DrawStyle(box=False, tag=False, blur=True)
    boxes = [ASTRONAUT_BOX, (200, 100, 300, 220)]
    one, two = (draw_faces(astronaut, make_faces(order), style=style) for order in (boxes, boxes[1:]))
    assert np.array_equal(one[110:200, 290:305], two[110:200, 290:305])


def test_a_face_that_is_missed_for_a_moment_stays_blurred(astronaut: NDArray[np.uint8]) -> None:
    veil = Veil(hold_s=0.5)
    known = replace(make_faces([ASTRONAUT_BOX]), track_id=np.array([7]))
    assert veil.cover(astronaut, replace(known, time_s=1.0)) is astronaut
    covered = veil.cover(astronaut, Faces.empty(frame=Frame(astronaut, time_s=1.4)))
    assert extent(changed(astronaut, covered)) == pytest.approx((167, 58, 283, 204), abs=1)
    assert veil.cover(astronaut, Faces.empty(frame=Frame(astronaut, time_s=1.6))) is astronaut


def test_a_cut_ends_the_blur_of_a_lost_face(astronaut: NDArray[np.uint8]) -> None:
    veil, other = Veil(), np.ascontiguousarray(astronaut[::-1, ::-1, ::-1])
    known = replace(make_faces([ASTRONAUT_BOX]), track_id=np.array([7]), time_s=1.0)
    assert veil.cover(astronaut, known) is astronaut
    black = np.zeros_like(astronaut)
    veil.cover(black, Faces.empty(frame=Frame(black, time_s=1.1)))
    assert veil.cover(other, Faces.empty(frame=Frame(other, time_s=1.2))) is other
    assert veil.cover(other, Faces.empty(frame=Frame(other, time_s=1.3))) is other


def test_a_face_that_is_found_again_is_left_to_the_drawing(astronaut: NDArray[np.uint8]) -> None:
    veil = Veil()
    for time_s in (0.0, 0.1):
        known = replace(make_faces([ASTRONAUT_BOX]), track_id=np.array([7]), time_s=time_s)
        assert veil.cover(astronaut, known) is astronaut


def test_hundreds_of_faces_are_drawn() -> None:
    boxes = [(float(x), float(y), x + 14.0, y + 16.0) for x in range(0, 780, 26) for y in range(0, 580, 30)]
    drawn = draw_faces(gray(800, 600), make_faces(boxes, ["neutral"] * len(boxes)))
    assert len(boxes) == 600 and share_of(drawn, COLOURS["neutral"]) > 600 * 14


def test_colours_of_known_names_come_from_the_label_sets() -> None:
    assert {name: expression_colour(name) for name in COLOURS} == COLOURS
    assert expression_colour(" Happiness ") == COLOURS["happy"]


def test_unknown_names_get_the_same_colour_in_every_process() -> None:
    code = "from mien.output.draw.colours import expression_colour; print(expression_colour('bored'))"
    outputs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert outputs == {f"{expression_colour('bored')}\n"}
    assert expression_colour("bored") != expression_colour("engaged")


@pytest.mark.parametrize("name", [*COLOURS, "bored", "très content", "高兴", "x"])
def test_letters_can_be_read_on_every_colour(name: str) -> None:
    colour = expression_colour(name)
    assert contrast_ratio(ink_on(colour), colour) >= 4.5  # WCAG AA


def test_contrast_ratio_of_black_and_white_is_21() -> None:
    assert contrast_ratio((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast_ratio(DARK, DARK) == 1


def test_names_of_own_label_sets_are_drawn_without_emoji() -> None:
    own = LabelSet("own", ("bored", "confused by far too many things at once", "高兴"))
    image = gray(640, 480)
    for name in own.names:
        faces = make_faces([(200, 150, 400, 400)], [name], own)
        drawn = draw_faces(image, faces, style=DrawStyle(bars=True))
        assert share_of(drawn, expression_colour(name)) > 500


def test_text_is_antialiased_and_as_wide_as_said() -> None:
    for px in (11, 16, 40, 150):
        mask = text_mask("happy 97%", px)
        left, _, right, _ = extent(mask > 0)
        assert right - left == pytest.approx(text_width("happy 97%", px), abs=0.25 * px)
        edges = ((mask > 20) & (mask < 235)).mean()
        assert 0 < edges < 0.5


def test_enlarged_letters_keep_sharp_edges() -> None:
    mask = text_mask("l", 192)  # a plain vertical stroke
    row = mask[mask.shape[0] // 2].astype(int)
    assert row.max() == 255 and ((row > 20) & (row < 235)).sum() <= 4


def test_unknown_letters_become_question_marks() -> None:
    assert np.array_equal(text_mask("高", 20), text_mask("?", 20))
    assert np.array_equal(text_mask("e\u0301", 20), text_mask("é", 20))


def test_percentages_of_two_digits_are_equally_wide() -> None:
    assert len({text_width(f"{p}%", 64) for p in range(10, 100)}) == 1


def test_every_expression_has_a_sprite_and_the_assets_are_small() -> None:
    folder = resources.files("mien.output.draw")
    for name in EMOJI:
        data = np.frombuffer((folder / "emoji" / f"{name}.png").read_bytes(), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_UNCHANGED).shape == (128, 128, 4)
    sizes = [len(f.read_bytes()) for part in ("emoji", "font") for f in (folder / part).iterdir()]
    assert sum(sizes) < 400_000
    for part in ("emoji", "font"):
        assert "SIL OPEN FONT LICENSE" in (folder / part / "LICENSE").read_text(encoding="utf-8")


def test_sprites_keep_red_and_blue_apart() -> None:
    """The happy emoji is yellow, not cyan, and the tear of the sad one blue."""
    style = DrawStyle(box=False, percent=False)
    image = gray(640, 480)
    drawn = draw_faces(image, make_faces([(200, 200, 400, 400)], ["sad"]), style=style).astype(int)
    yellow = (drawn[..., 0] > 220) & (drawn[..., 1] > 180) & (drawn[..., 2] < 90)
    assert yellow.sum() > 100


@pytest.mark.parametrize("image", [np.zeros((10, 10), np.uint8), np.zeros((10, 10, 3), np.float32)])
def test_other_arrays_than_rgb_images_are_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(InputError, match="image must be"):
        draw_faces(image, Faces.empty())
