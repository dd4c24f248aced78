"""Several trained networks as one, whose probabilities are the mean of theirs."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mien.errors import InputError
from mien.train.nets.blocks import ExpressionNet

MEMBERS = "members"  # what the exported graph calls them, too


class Ensemble(ExpressionNet):
    """Networks trained apart, answering together: the mean of their probabilities (Hansen and Salamon 1990).

    All of them see the same central view; each standardises it in its own way.
    """

    def __init__(self, members: Sequence[ExpressionNet]) -> None:
        """Put networks together; they are kept, not copied.

        Args:
            members: Networks with the same heads, run on views of the same side.

        Raises:
            InputError: There is none, or they differ in heads or views.
        """
        if not members:
            raise InputError("an ensemble needs at least one network, got none")
        first = members[0]
        for other in members[1:]:
            if [head.names for head in other.heads] != [head.names for head in first.heads]:
                raise InputError(
                    f"networks that answer together need the same classes, got {[h.names for h in first.heads]} and "
                    f"{[h.names for h in other.heads]}; train them on the same labels"
                )
            if other.view_px != first.view_px:
                raise InputError(
                    f"networks that answer together need views of the same side, got {first.view_px} and "
                    f"{other.view_px} px"
                )
        super().__init__(heads=first.heads, view_px=first.view_px)
        self.members = nn.ModuleList(members)

    def normalise(self, views: Tensor) -> Tensor:
        """Return views (N, 1, v, v) float32 in 0-255 as they are; every member has its own way."""
        return views

    def forward(self, views: Tensor) -> tuple[Tensor, ...]:
        """Return the logarithms of the mean probabilities of every head.

        Args:
            views: (N, 1, v, v) float32 in 0-255.

        Returns:
            One (N, C) float32 tensor per head; their softmax is the mean of the members' probabilities.
        """
        members = [cast(ExpressionNet, member) for member in self.members]
        answers = [member(member.normalise(views)) for member in members]
        return tuple(_log_mean([head.log_softmax(dim=1) for head in heads]) for heads in zip(*answers, strict=True))


def _log_mean(logs: list[Tensor]) -> Tensor:
    return torch.stack(logs).logsumexp(dim=0) - math.log(len(logs))
