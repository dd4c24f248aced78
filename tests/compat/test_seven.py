"""The rivals' seven emotions are the default answer, with contempt's share spread over them."""

import pytest

from mien import analyze_image
from mien.compat import FER, DeepFace
from mien.labels import FER7, convert_probs


@pytest.fixture(scope="module")
def seven(astronaut):
    faces = analyze_image(astronaut)
    assert "contempt" in faces.labels.names
    return dict(zip(FER7.names, convert_probs(faces.probs, faces.labels, FER7)[0].tolist(), strict=True))


def test_deepface_and_fer_answer_by_it(astronaut, seven):
    (theirs,) = DeepFace.analyze(astronaut[..., ::-1], detector_backend="mtcnn")
    assert theirs["emotion"] == pytest.approx({name: 100 * p for name, p in seven.items()}, abs=0.01)
    assert theirs["dominant_emotion"] == "happy"
    (face,) = FER(mtcnn=True).detect_emotions(astronaut[..., ::-1])
    assert face["emotions"] == pytest.approx(seven, abs=0.0051)
