"""Which activation function follows each layer, read off the graph that autograd keeps: nothing is run for it."""

import itertools
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from trainability.doctor.theory.signal import layer_kind
from trainability.doctor.theory.trace import Trace

_FUNCTIONS = {
    "Relu": "relu",
    "LeakyRelu": "leaky_relu",
    "RreluWithNoise": "rrelu",
    "Elu": "elu",
    "Gelu": "gelu",
    "Silu": "silu",
    "Mish": "mish",
    "Hardswish": "hardswish",
    "Hardtanh": "hardtanh",
    "Hardsigmoid": "hardsigmoid",
    "Softplus": "softplus",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "LogSigmoid": "logsigmoid",
    "Hardshrink": "hardshrink",
    "Softshrink": "softshrink",
}
# Nodes that hand values on, or that may as well come after the activation function (max pooling, dropout).
_PASSED = frozenset(
    {"View", "UnsafeView", "ReshapeAlias", "Alias", "Transpose", "Permute", "T", "Squeeze", "Unsqueeze", "Clone", "ToCopy"}
    | {"Expand", "NativeDropout", "MaxPool1DWithIndices", "MaxPool2DWithIndices", "MaxPool3DWithIndices"}
)
_MOST_NODES = 50_000  # of a graph that is walked through: some 0.1 s


def activations_in_graph(outputs: Iterable[Tensor], nodes: dict[str, Any]) -> dict[str, str | None]:
    """The activation function that alone reads each layer's output.

    Args:
        outputs: of the model, with their graph.
        nodes: by layer, the `grad_fn` of its output as the layer returned it.

    Returns:
        By layer; None where another operation reads it, or several do. Layers that are not in the graph are left out.
    """
    readers: dict[Any, list[Any]] = {}
    stack = [output.grad_fn for output in outputs if output.grad_fn is not None]
    seen = set(stack)
    while stack:
        node = stack.pop()
        for above, _ in node.next_functions:
            if above is None:
                continue
            readers.setdefault(above, []).append(node)
            if above not in seen:
                seen.add(above)
                stack.append(above)
        if len(seen) > _MOST_NODES:
            return {}
    return {name: _function_after(node, readers) for name, node in nodes.items() if node in seen}


def _function_after(node: Any, readers: dict[Any, list[Any]]) -> str | None:
    while len(found := readers.get(node, [])) == 1:
        node = found[0]
        name = type(node).__name__.rstrip("0123456789").removesuffix("Backward")
        if name == "Hardtanh" and node._saved_min_val == 0:
            return "relu6"
        if name in _FUNCTIONS:
            return _FUNCTIONS[name]
        if name not in _PASSED:
            return None
    return None


def activations_by_layer(trace: Trace | None, model: nn.Module) -> dict[str, str | None]:
    """The activation function behind each layer: as traced, else as the next module in `named_modules()` order."""
    if trace is not None:
        return {op.name: trace.activation_after(op) for op in trace.ops if op.name is not None}
    leaves = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    following = {}
    for (name, module), (_, after) in itertools.pairwise(leaves):
        if layer_kind(module):
            following[name] = type(after).__name__.lower() if not layer_kind(after) else None
    return following
