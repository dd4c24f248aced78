"""Batch normalisation folded into the convolution before it, for running a network."""

from copy import deepcopy
from typing import Any, TypeVar, cast

from torch import nn
from torch.fx import Node, symbolic_trace
from torch.nn.utils.fusion import fuse_conv_bn_eval

M = TypeVar("M", bound=nn.Module)


def normalised_convolutions(net: nn.Module) -> list[tuple[str, str]]:
    """Return the names of each convolution and the batch normalisation right after it.

    Args:
        net: A network that `torch.fx` can trace.
    """
    modules = dict(net.named_modules())
    pairs = []
    for node in symbolic_trace(net).graph.nodes:
        before = node.args[0] if node.args else None
        if _calls(node, nn.BatchNorm2d, modules) and _calls(before, nn.Conv2d, modules):
            pairs.append((str(cast(Node, before).target), str(node.target)))
    return pairs


def _calls(node: Any, kind: type[nn.Module], modules: dict[str, nn.Module]) -> bool:
    return isinstance(node, Node) and node.op == "call_module" and isinstance(modules[str(node.target)], kind)


def folded(net: M) -> M:
    """Return a copy of a network, in evaluation mode, whose convolutions compute the normalisation after them too.

    Args:
        net: A network that `torch.fx` can trace; it is not changed.
    """
    copy = deepcopy(net).eval()
    for convolution, norm in normalised_convolutions(copy):
        conv, after = (cast(Any, copy.get_submodule(name)) for name in (convolution, norm))
        copy.set_submodule(convolution, fuse_conv_bn_eval(conv, after))
        copy.set_submodule(norm, nn.Identity())
    return copy
