"""Batch normalisation folded into the layer before it, for running a network."""

from copy import deepcopy
from typing import Any, TypeVar, cast

from torch import nn
from torch.fx import Node, symbolic_trace
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
Net = TypeVar("Net", bound=nn.Module)


def normalised_layers(net: nn.Module) -> list[tuple[str, str]]:
    """Return the names of each convolution or linear layer and the batch normalisation right after it.

    Args:
        net: A network that `torch.fx` can trace.
    """
    modules = dict(net.named_modules())
    pairs = []
    for node in symbolic_trace(net).graph.nodes:
        before = node.args[0] if node.args else None
        layer, norm = _called(before, modules), _called(node, modules)
        if isinstance(norm, BatchNorm) and isinstance(layer, nn.Conv2d | nn.Linear):
            pairs.append((str(cast(Node, before).target), str(node.target)))
    return pairs


def _called(node: Any, modules: dict[str, nn.Module]) -> nn.Module | None:
    return modules[str(node.target)] if isinstance(node, Node) and node.op == "call_module" else None


def folded(net: Net) -> Net:
    """Return a copy of a network, in evaluation mode, whose layers compute the normalisation after them too.

    Args:
        net: A network that `torch.fx` can trace; it is not changed.
    """
    copy = deepcopy(net).eval()
    for layer, norm in normalised_layers(copy):
        before, after = (cast(Any, copy.get_submodule(name)) for name in (layer, norm))
        fuse = fuse_conv_bn_eval if isinstance(before, nn.Conv2d) else fuse_linear_bn_eval
        copy.set_submodule(layer, fuse(before, after))
        copy.set_submodule(norm, nn.Identity())
    return copy
