"""Results beside the truth: the truth is drawn, and the results are compared with it."""

from dataclasses import dataclass
from typing import Self

from mien.cli.analyze.request import Request
from mien.cli.analyze.show import score_text
from mien.cli.console import for_people
from mien.faces import Faces, Frame
from mien.labels import LabelSet
from mien.output.base import SinkWithoutFile
from mien.video.truth import Truth, TruthScore, read_truth
from mien.video.veil import Drawing


@dataclass(frozen=True)
class Scored:
    """What is needed where images are compared with the truth.

    Attributes:
        draw: Draws faces, and the truth beside them.
        sink: Takes the results and keeps the score.
    """

    draw: Drawing
    sink: "ScoreSink"

    @classmethod
    def read(cls, request: Request, labels: LabelSet) -> Self:
        """Read the truth that a request names.

        Args:
            request: What is wanted; names a file of the truth.
            labels: The label set.

        Raises:
            InputError: The file is not such a file.
        """
        truth = read_truth(request.truth or "", labels)
        return cls(Drawing(request.style, truth), ScoreSink(truth))

    def tell(self) -> None:
        """Print the score."""
        for_people().print(score_text(self.sink.score.to_dict()))


class ScoreSink(SinkWithoutFile):
    """Compares all results with the truth.

    Attributes:
        score: The score so far.
    """

    def __init__(self, truth: Truth) -> None:
        """Start empty.

        Args:
            truth: What is known.
        """
        super().__init__()
        self.score = TruthScore(truth)

    def _write(self, frame: Frame, faces: Faces) -> None:
        self.score.add(frame, faces)
