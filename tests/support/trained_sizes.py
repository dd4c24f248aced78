"""How large a network is, counted independently of the summary that mien shows."""

from torch import nn


def count_parameters(net: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def count_values(net: nn.Module) -> int:
    """Return the number of stored values as Keras totals them: parameters and running statistics."""
    statistics = sum(b.numel() for b in net.buffers() if b.is_floating_point())
    return sum(p.numel() for p in net.parameters()) + statistics
