"""What tells detectors apart: those that run, and those that older journals tell of."""

import pytest

from detector_files import settings_of
from mien.analyzer import Analyzer
from mien.detect.detector import Detector
from mien.detect.identity import may_be
from mien.detect.registry import DETECTORS, create_detector
from mien.errors import InputError, MissingExtraError, MissingWeightsError
from mien.faces import Faces

SETTINGS = (
    "DetectorSettings(min_face_px={0}, threshold={1}, model_path=None, config_path=None, threads=1, "
    "proposal_thresholds=(0.6, 0.7), pyramid_factor=0.709, upsample=None)"
)
OLD = SETTINGS.format(32, None)


def identity(name, folder, **change):
    try:
        return create_detector(name, settings_of(name, folder, **change)).identity
    except (MissingExtraError, MissingWeightsError) as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", [name for name in DETECTORS if name != "none"])
def test_a_threshold_makes_another_detector_unless_it_is_the_default(name, tmp_path):
    plain = identity(name, tmp_path)
    default = {"mtcnn": 0.8, "haar": 0.0, "haar-alt2": 0.0, "yunet": 0.9, "blazeface-short": 0.6}.get(name, 0.5)
    assert plain == identity(name, tmp_path, threshold=default)
    assert plain != identity(name, tmp_path, threshold=0.55)
    assert plain.startswith(f"{name}(") and f"threshold={default}" in plain


def test_all_have_different_ones(tmp_path):
    known = []
    for name in DETECTORS:
        try:
            known.append(create_detector(name, settings_of(name, tmp_path)).identity)
        except (MissingExtraError, MissingWeightsError):
            continue
    assert len(set(known)) == len(known) >= 6


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("mtcnn", {"min_face_px": 40}), ("mtcnn", {"proposal_thresholds": (0.5, 0.7)}),
        ("mtcnn", {"pyramid_factor": 0.8}), ("haar", {"min_face_px": 40}), ("haar-alt2", {"min_face_px": 40}),
        ("dlib-hog", {"upsample": 2}), ("dlib-mmod", {"upsample": 1}),
    ],
)  # fmt: skip
def test_what_changes_the_faces_counts(name, change, tmp_path):
    assert identity(name, tmp_path, **change) != identity(name, tmp_path)


@pytest.mark.parametrize("change", [{"threads": 2}, {"upsample": 3}])
def test_what_does_not_change_them_does_not(change, tmp_path):
    assert identity("mtcnn", tmp_path, **change) == identity("mtcnn", tmp_path)


@pytest.mark.parametrize(("name", "change"), [("yunet", {"comment": b"other"}), ("ssd", {"comment": b"n"})])
def test_the_content_of_a_given_file_counts_and_not_its_place(name, change, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert identity(name, tmp_path / "a") == identity(name, tmp_path / "b")
    assert identity(name, tmp_path / "a") != identity(name, tmp_path / "b", **change)


@pytest.mark.parametrize(
    ("noted", "names"),
    [
        (f"MtcnnDetector {OLD}", {"mtcnn"}),
        (f"MtcnnDetector {SETTINGS.format(32, 0.8)}", {"mtcnn"}),
        (f"MtcnnDetector {SETTINGS.format(32, 0.9)}", set()),
        (f"MtcnnDetector {SETTINGS.format(20, None)}", set()),
        (f"HaarDetector {OLD}", {"haar", "haar-alt2"}),  # the text did not tell them apart
        (f"HaarDetector {SETTINGS.format(40, None)}", set()),
        ("HogDetector", {"dlib-hog"}),
        ("MmodDetector", {"dlib-mmod"}),
        ("YunetDetector", {"yunet"}),
        ("SsdDetector", {"ssd"}),
        ("WholeImage", {"none"}),
        (f"TurnTakingRefiner {OLD}", {"mtcnn"}),  # the server's
        (f"TurnTaking {OLD}", {"haar", "haar-alt2"}),
        ("TurnTaking None", {"dlib-hog", "dlib-mmod", "yunet", "ssd", "none"}),
        ("SomebodysDetector", set()),
    ],
)
def test_older_texts_are_read_as_far_as_they_tell(noted, names, tmp_path):
    found = set()
    for name in DETECTORS:
        try:
            found |= {name} if may_be(noted, create_detector(name, settings_of(name, tmp_path)).identity) else set()
        except (MissingExtraError, MissingWeightsError):
            names = names - {name}
    assert found == names


def test_a_detector_of_ones_own_needs_two_things(astronaut):
    class Center(Detector):
        identity = "center"

        def detect(self, image):
            return Faces.empty()

    detector = Analyzer(detector=Center()).detector
    assert (detector.refines, detector.framed) == (False, False)
    with pytest.raises(InputError, match="the detector center cannot refine"):
        detector.refine(astronaut, Faces.empty().xyxy)


def test_what_is_no_detector_is_refused_with_the_remedy():
    class Bare:
        def detect(self, image):
            return Faces.empty()

    with pytest.raises(InputError, match=r"got Bare; let its class inherit from mien\.detect\.Detector"):
        Analyzer(detector=Bare())
