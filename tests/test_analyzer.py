from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

import mien
from mien import Analyzer, Faces, Frame
from mien.detect.align import crop_faces
from mien.detect.detector import Detector
from mien.errors import InputError, ModelError, SourceError
from mien.labels import FERPLUS8
from mien.sources.images import Failed, expand

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
GRAY = np.full((120, 160, 3), 127, np.uint8)


def close(one: Faces, other: Faces) -> bool:
    return (
        len(one) == len(other) and np.allclose(one.xyxy, other.xyxy) and np.allclose(one.probs, other.probs, atol=1e-5)
    )


def test_the_examples_show_what_a_person_sees(analyzer, astronaut, hopper):
    smiling, calm = analyzer.analyze(astronaut), analyzer.analyze(hopper)
    assert smiling.expression == ["happy"]
    assert smiling.confidence[0] > 0.7
    assert calm.expression == ["neutral"]
    x1, y1, x2, y2 = smiling.xyxy[0]
    assert 160 < x1 < 200 < 250 < x2 < 290
    assert 40 < y1 < 90 < 150 < y2 < 200


def test_several_frames_equal_one_at_a_time(analyzer, astronaut, hopper):
    frames = [Frame(astronaut, "a", 0, 0.0), Frame(GRAY, "g", 1, 0.5), Frame(hopper, "h", 2, 1.0)]
    together = analyzer.analyze_frames(frames)
    assert [len(faces) for faces in together] == [1, 0, 1]
    assert [(f.source, f.frame_index, f.time_s) for f in together] == [("a", 0, 0.0), ("g", 1, 0.5), ("h", 2, 1.0)]
    assert close(together[0], analyzer.analyze(astronaut))
    assert close(together[2], analyzer.analyze(hopper))


def test_no_frames_and_no_faces_are_ordinary(analyzer):
    assert analyzer.analyze_frames([]) == []
    faces = analyzer.analyze(GRAY)
    assert len(faces) == 0
    assert faces.probs.shape == (0, 8)
    assert faces.labels == analyzer.labels


def test_several_faces_in_one_image(analyzer, astronaut, hopper):
    height = max(astronaut.shape[0], hopper.shape[0])
    both = np.zeros((height, 1024, 3), np.uint8)
    both[: astronaut.shape[0], :512], both[: hopper.shape[0], 512:] = astronaut, hopper
    faces = analyzer.analyze(both)
    by_place = faces[np.argsort(faces.xyxy[:, 0])]
    assert by_place.expression == ["happy", "neutral"]


@pytest.mark.parametrize("scale", [0.6, 2.0])
def test_a_resized_image_shows_the_same(analyzer, astronaut, scale):
    faces = analyzer.analyze(cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    assert faces.expression == ["happy"]
    np.testing.assert_allclose(faces.xyxy / scale, analyzer.analyze(astronaut).xyxy, atol=12)


def test_a_turned_head_is_turned_back(analyzer, astronaut):
    turn = cv2.getRotationMatrix2D((223, 120), 25, 1.0)
    turned = cv2.warpAffine(astronaut, turn, (512, 512))
    straight, crop = (crop_faces(image, analyzer.detector.detect(image))[0] for image in (astronaut, turned))
    correlation = np.corrcoef(straight.ravel().astype(float), crop.ravel().astype(float))[0, 1]
    assert correlation > 0.8
    assert analyzer.analyze(turned).expression == ["happy"]


def test_label_sets(astronaut):
    faces = Analyzer(labels="ferplus").analyze(astronaut)
    assert faces.labels == FERPLUS8
    assert faces.expression == ["happy"]
    np.testing.assert_allclose(faces.probs.sum(axis=1), 1, atol=1e-5)


def test_crops_need_no_detector(analyzer, astronaut):
    crop = crop_faces(astronaut, analyzer.detector.detect(astronaut))[0]
    faces = Analyzer(detector="none").analyze(np.dstack([crop] * 3))
    assert len(faces) == 1
    assert faces.expression == ["happy"]


def test_eight_threads_get_what_one_gets(analyzer, astronaut, hopper):
    images = [astronaut, hopper, GRAY, astronaut[::2, ::2].copy()] * 4
    alone = [analyzer.analyze(image) for image in images[:4]] * 4
    with ThreadPoolExecutor(8) as pool:
        for got, wanted in zip(pool.map(analyzer.analyze, images), alone, strict=True):
            assert close(got, wanted)


def test_stream_is_lazy_and_keeps_the_order(analyzer, astronaut):
    taken = []

    def frames():
        for i in range(20):
            taken.append(i)
            yield Frame(astronaut if i % 2 else GRAY, "video", i, i / 25)

    stream = analyzer.stream(frames(), batch_size=4)
    frame, faces = next(stream)
    assert len(taken) == 4
    assert (frame.index, len(faces)) == (0, 0)
    rest = list(stream)
    assert [f.index for f, _ in rest] == list(range(1, 20))
    assert [len(faces) for _, faces in rest] == [i % 2 for i in range(1, 20)]
    with pytest.raises(InputError, match="batch_size"):
        next(analyzer.stream([], batch_size=0))


def test_one_broken_file_gives_one_record_and_the_rest_is_done(analyzer, astronaut, tmp_path):
    for i in range(12):
        cv2.imwrite(str(tmp_path / f"{i}.png"), cv2.cvtColor(astronaut[::2, ::2], cv2.COLOR_RGB2BGR))
    (tmp_path / "5.png").write_bytes((tmp_path / "5.png").read_bytes()[:5000])
    results = list(analyzer.map_items(expand(tmp_path), workers=3))
    failed = [r for r in results if isinstance(r, Failed)]
    assert len(results) == 12
    assert [r.source for r in failed] == [str(tmp_path / "5.png")]
    assert "5.png" in str(failed[0].error)
    names = [r.source if isinstance(r, Failed) else r[0].source for r in results]
    assert names == [str(tmp_path / f"{i}.png") for i in range(12)]
    assert all(r[1].expression == ["happy"] for r in results if not isinstance(r, Failed))


def test_an_unexpected_error_costs_one_image_only(astronaut, caplog):
    class Fragile(Detector):
        identity = "fragile"

        def detect(self, image):
            if image[0, 0, 0] == 255:
                raise ZeroDivisionError("inside")
            return Faces.empty()

    marked = astronaut.copy()
    marked[0, 0, 0] = 255
    results = list(Analyzer(detector=Fragile()).map_items(expand([astronaut * 0, marked, astronaut * 0])))
    assert [isinstance(r, Failed) for r in results] == [False, True, False]
    assert "unexpected ZeroDivisionError: inside" in str(results[1].error)
    assert "array 1" in caplog.text


def test_analyze_takes_paths_bytes_and_arrays(astronaut, tmp_path):
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), cv2.cvtColor(astronaut, cv2.COLOR_RGB2BGR))
    from_path, from_text = mien.analyze(path), mien.analyze(str(path))
    from_bytes, from_array = mien.analyze(path.read_bytes()), mien.analyze(astronaut)
    assert close(from_path, from_array) and close(from_text, from_array) and close(from_bytes, from_array)
    assert from_path.source == str(path)
    with pytest.raises(SourceError, match="does not exist"):
        mien.analyze(tmp_path / "none.jpg")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"detector": "mtcn"}, InputError, "unknown detector 'mtcn'; known: mtcnn, haar"),
        ({"labels": "fer"}, InputError, "has no label set 'fer'; it has combined, fer2013, ferplus"),
        ({"model": "huge"}, ModelError, "unknown model 'huge'; known: mien-b"),
    ],
)
def test_unknown_names_list_the_known(arguments, error, message):
    with pytest.raises(error, match=message):
        Analyzer(**arguments)


def test_an_open_analyzer_takes_what_analyze_image_takes(analyzer, astronaut):
    path = EXAMPLES / "astronaut.jpg"
    (known,) = analyzer.analyze(astronaut).to_records()
    for given, channels in (
        (path, "rgb"),
        (str(path), "rgb"),
        (path.read_bytes(), "rgb"),
        (astronaut[..., ::-1], "bgr"),
    ):
        faces = analyzer.analyze(given, channels=channels)
        (told,) = faces.to_records()
        assert {**told, "source": ""} == {**known, "source": ""}
        assert faces.draw().shape == astronaut.shape


def test_bgr_or_float_mistakes_are_refused(analyzer, astronaut):
    with pytest.raises(InputError, match="values are 0-1"):
        analyzer.analyze(astronaut / 255.0)
    with pytest.raises(InputError, match="channels last"):
        analyzer.analyze(astronaut.transpose(2, 0, 1))


def test_the_smile_clip_is_read_as_a_person_reads_it(analyzer, shared):
    capture = cv2.VideoCapture(str(shared / "data" / "media" / "single_face.mp4"))
    frames = []
    while (read := capture.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    answers = [analyzer.analyze(frames[i]).expression for i in (0, 10, 24, 40, 60, len(frames) - 1)]
    assert answers == [["neutral"], ["neutral"], ["happy"], ["happy"], ["happy"], ["neutral"]]
