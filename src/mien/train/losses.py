"""Losses against soft targets."""

from torch import Tensor


def soft_cross_entropy(
    logits: Tensor, targets: Tensor, *, weights: Tensor | None = None, focal_gamma: float = 0.0
) -> Tensor:
    """Return the cross-entropy of each row against soft targets; an all-zero row costs nothing.

    Args:
        logits: (N, C).
        targets: (N, C), rows sum to 1 or 0.
        weights: (C,) weight of each class; None weighs all alike.
        focal_gamma: Exponent of the focal loss (Lin et al. 2017), which counts answers that are nearly right for less:
            each term is multiplied by (1 - p) to this power. 0 is plain cross-entropy.

    Returns:
        (N,) float32.
    """
    log_probs = logits.float().log_softmax(dim=1)
    terms = targets * log_probs
    if focal_gamma > 0:
        terms = terms * (1 - log_probs.exp()).clamp(min=1e-6) ** focal_gamma
    if weights is not None:
        terms = terms * weights
    return -terms.sum(dim=1)
