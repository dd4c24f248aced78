"""Verifying, finding and naming people on the example portraits."""

import threading

import cv2
import numpy as np
import pytest
from conftest import EXAMPLES

from mien import analyze_image, analyze_images
from mien.detect.registry import create_detector
from mien.errors import InputError, MissingWeightsError, SourceError
from mien.people import SAME_DISTANCE, FaceEmbedder, Gallery, find_person, read_gallery, verify
from mien.people.rates import MEASURED, rates_at

ADA, GRACE = EXAMPLES / "astronaut.jpg", EXAMPLES / "grace_hopper.jpg"


def changed(folder, name, source, *, scale=0.6, light=0.7):
    """Write another picture of the same face: mirrored, smaller and darker."""
    image = cv2.resize(cv2.imread(str(source)), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / name), cv2.convertScaleAbs(image[:, ::-1], alpha=light))
    return folder / name


def beside(folder, name, *sources):
    """Write portraits beside each other, each smaller than the one before."""
    parts = [cv2.resize(cv2.imread(str(s)), (480 // (k + 1),) * 2) for k, s in enumerate(sources)]
    parts = [cv2.copyMakeBorder(p, 0, 480 - len(p), 0, 0, cv2.BORDER_CONSTANT) for p in parts]
    cv2.imwrite(str(folder / name), np.hstack(parts))
    return folder / name


@pytest.fixture
def folder(tmp_path):
    """Pictures of both, one of both together, one without a face, and one that is no image."""
    root = tmp_path / "photos"
    changed(root, "a.jpg", ADA)
    changed(root / "deep", "g.jpg", GRACE)
    beside(root, "both.jpg", GRACE, ADA)
    cv2.imwrite(str(root / "wall.png"), np.full((200, 200, 3), 90, np.uint8))
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    return root


def test_one_person_and_two(identity, tmp_path):
    same = verify(ADA, changed(tmp_path, "a.jpg", ADA))
    assert same.same and same.distance < 0.35 and same.threshold == SAME_DISTANCE
    assert same.first.faces == 1 and same.first.note == ""
    other = verify(ADA, GRACE)
    assert not other.same and other.distance > 0.6
    assert verify(ADA, GRACE, threshold=1.2).same
    assert verify(ADA, ADA).distance == pytest.approx(0, abs=0.02)


def test_of_several_faces_the_largest_is_taken_and_said(identity, tmp_path):
    answer = verify(beside(tmp_path, "both.jpg", GRACE, ADA), GRACE)
    assert answer.same and answer.first.faces == 2
    assert "2 faces; the largest was taken, at (" in answer.first.note


def test_a_face_that_is_too_small_gets_a_note(identity, tmp_path):
    tiny = changed(tmp_path, "t.png", GRACE, scale=0.13, light=1)
    answer = verify(tiny, GRACE)
    assert "smaller than 32 px" in answer.first.note


@pytest.mark.parametrize("problem", ["wall", "broken", "missing", "threshold"])
def test_what_gives_no_answer_says_why(identity, folder, problem):
    kinds = {
        "wall": (InputError, "wall.png: no face was found", {}),
        "broken": (SourceError, "broken.jpg", {}),
        "missing": (SourceError, "missing", {}),
        "threshold": (InputError, "threshold must be between 0 and 2, got 3", {"threshold": 3}),
    }
    error, said, options = kinds[problem]
    name = {"wall": "wall.png", "broken": "broken.jpg", "missing": "missing.jpg", "threshold": "a.jpg"}[problem]
    with pytest.raises(error, match=said):
        verify(folder / name, ADA, **options)


def test_find_ranks_all_images_and_no_bad_one_costs_another(identity, folder):
    found = find_person(ADA, folder)
    names = [match.source.rpartition("/")[2] for match in found]
    assert set(names[:2]) == {"a.jpg", "both.jpg"} and names[2:] == ["g.jpg", "wall.png", "broken.jpg"]
    assert [match.same for match in found] == [True, True, False, False, False]
    both = found[names.index("both.jpg")]
    assert both.faces == 2 and both.xyxy[0] > 450  # hers is the one on the right
    assert found[2].distance > 0.6 and found[3].distance is None and found[3].error is None
    assert isinstance(found[4].error, SourceError)
    assert find_person(GRACE, [folder / "a.jpg", folder / "both.jpg"])[0].source.endswith("both.jpg")


def test_a_network_that_was_not_pulled_names_the_line_to_type(monkeypatch, tmp_path):
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    with pytest.raises(MissingWeightsError, match="run: mien models pull identity"):
        FaceEmbedder()


def test_several_threads_get_the_answers_of_one(identity, astronaut, hopper):
    embedder, detector = FaceEmbedder(), create_detector("mtcnn")
    jobs = [(image, detector.detect(image).largest()) for image in (astronaut, hopper)]
    wanted = [embedder.embed(*job) for job in jobs]
    wrong = []

    def work(k):
        for _ in range(3):
            if not np.array_equal(embedder.embed(*jobs[k % 2]), wanted[k % 2]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert embedder.embed(astronaut, jobs[0][1][:0]).shape == (0, 128)
    with pytest.raises(InputError, match=r"chips must be \(N, 150, 150, 3\)"):
        embedder.embed_chips(np.zeros((1, 48, 48, 3), np.uint8))


def test_a_folder_per_name_names_faces_of_images(identity, folder, tmp_path):
    people = tmp_path / "people"
    changed(people / "Ada", "1.jpg", ADA)
    changed(people / "Grace", "1.jpg", GRACE)
    assert analyze_image(ADA, people=people)[0].person == "Ada"
    both = analyze_image(folder / "both.jpg", people=people)
    assert sorted(both.person) == ["Ada", "Grace"]
    table = analyze_images(folder, people=people, progress=False).to_pandas()
    assert table["person"].dropna().tolist().count("Ada") == 2
    assert analyze_image(ADA).person is None


def test_a_stranger_is_nobody_and_a_name_is_given_once_an_image(identity, astronaut, hopper):
    detector, embedder = create_detector("mtcnn"), FaceEmbedder()
    face = detector.detect(astronaut).largest()
    gallery = Gallery.of([("Ada", embedder.embed(astronaut, face)[0])])
    from mien.faces import Faces, Frame

    other = detector.detect(hopper).largest()
    assert gallery.named(other, Frame(hopper), embedder).person == (None,)
    both = Gallery.of([("Ada", gallery.embeddings[0]), ("Grace", embedder.embed(hopper, other)[0])])
    twice = Faces(np.repeat(face.xyxy, 2, 0), np.repeat(face.score, 2), np.repeat(face.landmarks, 2, 0))
    assert sorted(both.named(twice, Frame(astronaut), embedder).person, key=str) == ["Ada", None]
    assert gallery.named(other[:0], Frame(hopper), embedder).person == ()
    assert gallery.name_of(np.zeros((0, 128), np.float32)) is None


@pytest.mark.parametrize("kind", ["missing", "flat", "faceless"])
def test_a_folder_of_people_that_names_nobody_is_refused(identity, tmp_path, kind):
    root = tmp_path / "people"
    if kind != "missing":
        (root / "Ada").mkdir(parents=True) if kind == "faceless" else root.mkdir()
    if kind == "faceless":
        cv2.imwrite(str(root / "Ada" / "wall.png"), np.zeros((60, 60, 3), np.uint8))
    said = {"missing": "is no folder; give one", "flat": "holds no folders", "faceless": "no picture in the folders"}
    with pytest.raises(InputError, match=said[kind]):
        read_gallery(root, create_detector("mtcnn"), FaceEmbedder())


def test_the_rates_that_are_told_are_those_that_were_measured():
    assert rates_at(SAME_DISTANCE) in MEASURED
    assert rates_at(0.123) is None
    assert [r.false_match for r in MEASURED] == sorted(r.false_match for r in MEASURED)
