"""The graph of the backward pass, read from the loss: what made the outputs, and which parameters the loss depends on."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.facts import LossGraph
from trainability.doctor.measure.attention_axes import weights_astray
from trainability.doctor.measure.bounded_terms import bounded_term
from trainability.doctor.measure.criteria import untrained_criterion
from trainability.doctor.measure.heads import misread_heads
from trainability.doctor.measure.living import living
from trainability.doctor.measure.misread_places import misread_places
from trainability.doctor.measure.nodes import SAME_VALUES, name_of, parents_of, wrapped
from trainability.doctor.measure.softmax_dims import softmax_astray
from trainability.doctor.measure.summed_beside import summed_beside

_TAKES = {
    "LogSoftmaxBackward": "log_softmax",
    "BinaryCrossEntropyWithLogitsBackward": "sigmoid",
    "LogSigmoidBackward": "sigmoid",
    "NllLossBackward": "nll",
    "NllLoss2DBackward": "nll",
    "MseLossBackward": "distance",
    "L1LossBackward": "distance",
    "SmoothL1LossBackward": "distance",
    "HuberLossBackward": "distance",
}
_MAKES = {
    "SoftmaxBackward": "softmax",
    "SigmoidBackward": "sigmoid",
    "ReluBackward": "relu",
    "TanhBackward": "tanh",
    "LogSoftmaxBackward": "log_softmax",
}
# What bounds an output that targets are taken from; in a loss of another kind softplus is part of the loss.
_BOUNDS = {**_MAKES, "SoftplusBackward": "softplus", "ExpBackward": "exp"}
# Losses that are never below zero. Their nodes give one number where they take the mean or the sum.
_POSITIVE = {
    "NllLossBackward": "cross_entropy",  # of log_softmax; of anything else it has no floor
    "NllLoss2DBackward": "cross_entropy",
    "BinaryCrossEntropyBackward": "binary_cross_entropy",
    "BinaryCrossEntropyWithLogitsBackward": "binary_cross_entropy_with_logits",
    "MseLossBackward": "mse_loss",
    "L1LossBackward": "l1_loss",
    "SmoothL1LossBackward": "smooth_l1_loss",
    "HuberLossBackward": "huber_loss",
}
_NONE, _SUM = 0, 2  # a node's word for reduction="sum"
_MULTIPLES = ("NegBackward", "MulBackward", "DivBackward")
# Where a layer's own arithmetic begins: nothing behind these belongs to the loss.
_LAYERS = ("Addmm", "Mm", "Bmm", "Baddbmm", "Convolution", "Linear", "MkldnnRnnLayer", "CudnnRnn", "NativeLayerNorm", "Matmul")
_MAX_NODES_OF_LOSS = 500
_MAX_NODES = 20_000
_NOT_OWN = frozenset({"builtins", "torch", "numpy", "types", "functools", "lightning", "pytorch_lightning", "transformers"})


def loss_graph(
    loss: Tensor,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    original: nn.Module | None = None,
    makers: Mapping[int, tuple[Any, str]] | None = None,
    compared: Tensor | None = None,
    answer: set[int] | None = None,
) -> LossGraph | None:
    """Read the graph of one loss. Nothing is computed: nodes outlive `backward`, what they saved does not.

    Args:
        loss: one number, with its graph.
        model: the plain module.
        optimizer: over its parameters.
        original: the module that `model` is a copy of, whose parameters the optimizer holds; None if it is no copy.
        makers: nodes by id with where they were made, of `ForwardPass`.
        answer: ids of what the outputs depend on; None if unknown.
        compared: the outputs from which targets are taken, for a loss whose functions are not known.

    Returns:
        What the graph shows; None where the loss has none (a number, or detached).
    """
    if loss.grad_fn is None:
        return None
    takes, maker, width = _head(loss.grad_fn)
    if takes is None and compared is not None and compared.grad_fn is not None:
        takes, maker = "distance", behind_views(compared.grad_fn)
    own = {id(p): name for name, p in model.named_parameters()}
    leaves, opaque = _leaves(loss.grad_fn)
    strangers = {id(leaf): leaf for leaf in leaves if isinstance(leaf, nn.Parameter) and id(leaf) not in own}
    held = _hidden_in_attributes(model) if strangers and not _is_sharded(model) else {}
    unregistered = {key: held[key] for key in strangers if key in held}
    own_managed, others_managed = managed_parameters(optimizer), held_by_any_optimizer() if strangers else set()
    managed = own_managed | others_managed
    rivals = (others_managed - own_managed) & strangers.keys() if optimizer is not None else set()
    if maker is not None and rivals and any(id(leaf) in rivals for leaf in _leaves(maker)[0]):
        maker = None  # the end of a network that another optimizer trains, as of a discriminator beside its generator
    originals = {name: key for key, name in _hidden_in_attributes(original or model).items()} if unregistered else {}
    reached = {id(leaf) for leaf in leaves}
    return LossGraph(
        takes=takes,
        made_by=(_BOUNDS if takes == "distance" else _MAKES).get(name_of(maker)),
        made_at=(makers or {}).get(id(maker), (None, None))[1],
        num_outputs=width,
        unregistered=tuple(unregistered.values()),
        unregistered_untrained=sum(originals.get(name) not in managed for name in unregistered.values()),
        criterion=untrained_criterion([p for key, p in strangers.items() if key not in unregistered], managed),
        renormalised=_renormalised(loss.grad_fn),
        lone_softmax=_has_lone_softmax(loss.grad_fn),
        softmax_astray=softmax_astray(nodes_of_loss(loss.grad_fn, through_products=False)),
        over_batch=any(_runs_over_batch(node) for node in nodes_of_loss(loss.grad_fn, through_products=False)),
        swapped=_is_swapped(loss.grad_fn),
        multiple_of=_multiple_of(loss.grad_fn),
        sums=_summed_terms(loss.grad_fn),
        outside=() if opaque else tuple(n for n, p in model.named_parameters() if p.requires_grad and id(p) not in reached),
        has_opaque_parts=opaque,
        # Where the answer goes through what is not the model's own (another player), its zeros are not the loss's.
        cost_of_zeros=_cost_of_zeros(loss.grad_fn, width)
        if _is_sharded(model) or set(strangers) <= set(unregistered)
        else None,
        beside_answer=_beside(model, reached, answer) if answer and not opaque else (),
        heads=misread_heads(loss.grad_fn) or misread_places(loss.grad_fn),
        attention_axes=weights_astray(loss.grad_fn),
        summed_beside=summed_beside(loss.grad_fn),
        bounded_term=bounded_term(nodes_of_loss(loss.grad_fn), loss),
    )


def bounded_twice(losses: Iterable[Tensor], makers: Mapping[int, tuple[Any, str]]) -> LossGraph | None:
    """Of several losses, the first that applies softmax or sigmoid to what a bounded function made; nothing else is read.

    Args:
        losses: with their graphs.
        makers: as for `loss_graph`.
    """
    for loss in losses:
        takes, maker, width = _head(loss.grad_fn) if loss.grad_fn is not None else (None, None, None)
        made = _MAKES.get(name_of(maker))
        if takes in ("log_softmax", "sigmoid") and made in ("softmax", "sigmoid", "relu", "tanh"):
            return LossGraph(takes=takes, made_by=made, made_at=makers.get(id(maker), (None, None))[1], num_outputs=width)
    return None


def _beside(model: nn.Module, reached: set[int], answer: set[int]) -> tuple[str, ...]:
    layers = (nn.Linear, nn.modules.conv._ConvNd)
    found = []
    for name, module in model.named_modules():
        # Not `module.weight`: to read a weight that is parametrised is to compute it, and spectral norm counts that as a step.
        own = dict(module.named_parameters(recurse=False)).get("weight") if isinstance(module, layers) else None
        if own is not None and id(own) in reached and id(own) not in answer:
            found.append(f"{name}.weight")
    return tuple(found)


def _cost_of_zeros(root: Any, width: int | None) -> float | None:
    """What outputs of zero cost, where the loss is the mean of one function of PyTorch, and nothing else."""
    name, above = name_of(root), parents_of(root)
    if name == "NllLossBackward" and root._saved_reduction == 1 and width and name_of(above[0]) == "LogSoftmaxBackward":
        return math.log(width)
    if name == "BinaryCrossEntropyWithLogitsBackward" and root._saved_reduction == 1:
        with contextlib.suppress(RuntimeError):  # weights are gone after backward
            return math.log(2) if root._saved_weight is None and root._saved_pos_weight is None else None
        return None
    if name == "NegBackward" and name_of(above[0]) == "MeanBackward":
        return math.log(2) if name_of(above[0].next_functions[0][0]) == "LogSigmoidBackward" else None
    return None


def leaves_of(loss: Tensor) -> tuple[set[int], bool]:
    """Ids of the leaves that a loss depends on, and whether part of the graph is hidden."""
    leaves, opaque = _leaves(loss.grad_fn)
    return {id(leaf) for leaf in leaves}, opaque


def parameters_behind(loss: Tensor) -> list[nn.Parameter]:
    """The parameters that a loss depends on, whoever owns them."""
    return [leaf for leaf in _leaves(loss.grad_fn)[0] if isinstance(leaf, nn.Parameter)] if loss.grad_fn is not None else []


def managed_parameters(optimizer: torch.optim.Optimizer | None) -> set[int]:
    """Ids of the parameters in an optimizer's groups."""
    return set() if optimizer is None else {id(p) for group in optimizer.param_groups for p in group["params"]}


def optimizers_of_process() -> list[torch.optim.Optimizer]:
    """All optimizers of this process, but for those whose `__init__` failed: a GAN has two, and Monitor is given one."""
    return [optimizer for optimizer in living(torch.optim.Optimizer) if _is_made(optimizer)]


def _is_made(optimizer: torch.optim.Optimizer) -> bool:
    with contextlib.suppress(Exception):
        managed_parameters(optimizer)
        return True
    return False


def held_by_any_optimizer() -> set[int]:
    """Ids of the parameters that any optimizer of this process holds."""
    return set().union(*map(managed_parameters, optimizers_of_process()))


def _is_sharded(model: nn.Module) -> bool:
    return any(hasattr(p, "to_local") for p in model.parameters())


def _is_same_values(node: Any) -> bool:
    return name_of(node).removesuffix("Backward") in SAME_VALUES


def _head(root: Any) -> tuple[str | None, Any, int | None]:
    """The first function of the loss on the outputs that something bounded made, else the first that is known at all."""
    found: list[tuple[str, Any, int | None]] = []
    for node in nodes_of_loss(root):
        takes = _TAKES.get(name_of(node))
        if takes is None:
            continue
        for above in parents_of(node):
            found.append((takes, made := behind_views(above), _width(node) or _width(made)))
    if not found:
        return None, None, None

    def place(row: tuple[str, Any, int | None]) -> tuple[bool, bool]:
        made_by = _MAKES.get(name_of(row[1]))
        return made_by is None, row[0] == "nll" and made_by == "log_softmax"

    return min(found, key=place)


def behind_views(node: Any) -> Any:
    """The node that made the values which this one hands on."""
    while _is_same_values(node) and parents_of(node):
        node = parents_of(node)[0]
    return node


def _renormalised(root: Any) -> int | None:
    """Width of a softmax whose probabilities the loss normalises as logits, as `Categorical(logits=...)` does."""
    for node in nodes_of_loss(root):
        if name_of(node) in ("LogsumexpBackward", "LogSoftmaxBackward") and parents_of(node):
            made = behind_views(parents_of(node)[0])
            if name_of(made) == "SoftmaxBackward" and (width := _width(made)) is not None:
                return width
    return None


def _runs_over_batch(node: Any) -> bool:
    """Whether a softmax over the first of two dimensions makes what goes into the loss; a square of all pairs may mean it."""
    metadata, dim = getattr(node, "_input_metadata", None), getattr(node, "_saved_dim", None)
    if "oftmax" not in name_of(node) or not metadata or dim is None:
        return False
    shape = tuple(metadata[0].shape)
    return len(shape) == 2 and shape[0] != shape[1] and min(shape) > 1 and dim in (0, 2**64 - 2)


def _has_lone_softmax(root: Any) -> bool:
    """Whether a softmax anywhere in the graph runs over one number, and makes 1 of it."""
    seen, todo = {id(root): root}, [root]
    while todo and len(seen) < _MAX_NODES:
        node = todo.pop()
        if name_of(node) in ("SoftmaxBackward", "SafeSoftmaxBackward") and _width(node) == 1:
            return True
        new = {id(above): above for above in parents_of(node) if id(above) not in seen}
        seen |= new
        todo.extend(new.values())
    return False


def _is_swapped(root: Any) -> bool:
    """Binary cross-entropy is no symmetric function: its first argument is the output."""
    binary = (node for node in nodes_of_loss(root) if name_of(node).startswith("BinaryCrossEntropy"))
    return any(
        len(node.next_functions) > 1 and node.next_functions[0][0] is None and node.next_functions[1][0] is not None
        for node in binary
    )


def _multiple_of(root: Any) -> str | None:
    """The loss of which the root is a multiple by numbers; a weight by example has a mean or a sum above it and is none."""
    node, was_multiplied = root, False
    while (name_of(node) in _MULTIPLES or _is_same_values(node)) and len(parents_of(node)) == 1:
        was_multiplied |= name_of(node) in _MULTIPLES
        (node,) = parents_of(node)
    if not was_multiplied or (
        name_of(node).startswith("NllLoss") and [name_of(n) for n in parents_of(node)] != ["LogSoftmaxBackward"]
    ):
        return None
    return _POSITIVE.get(name_of(node))


def _summed_terms(root: Any) -> int | None:
    """Terms of the loss, where it is one loss with reduction="sum", or a sum over all terms of one, and nothing else."""
    while _is_same_values(root) or (name_of(root) == "SumBackward" and getattr(root, "_saved_self_sym_sizes", None) == ()):
        (root,) = parents_of(root)  # a number that is reshaped, or summed by itself
    if name_of(root) == "SumBackward" and not hasattr(root, "_saved_dim"):
        terms, (above,) = getattr(root, "_saved_self_sym_sizes", ()), parents_of(root)
        is_loss = name_of(above) in _POSITIVE and getattr(above, "_saved_reduction", None) == _NONE
        is_square = name_of(above) == "PowBackward" and getattr(above, "_saved_exponent", None) == 2
        is_error = (is_square or name_of(above) == "AbsBackward") and [*map(name_of, parents_of(above))] == ["SubBackward"]
        return math.prod(terms) if is_loss or is_error else None
    if name_of(root) not in _POSITIVE or getattr(root, "_saved_reduction", None) != _SUM:
        return None
    metadata = getattr(parents_of(root)[0], "_input_metadata", None) if parents_of(root) else None
    shape = tuple(metadata[0].shape) if metadata else ()
    if not shape:
        return None
    return math.prod(shape) // (shape[1] if name_of(root).startswith("NllLoss") and len(shape) > 1 else 1)


def positive_losses(loss: Tensor) -> list[tuple[Any, str]]:
    """Nodes of the loss that are losses without values below zero, each with its name in PyTorch's words."""
    named = [(node, _POSITIVE[name_of(node)]) for node in nodes_of_loss(loss.grad_fn) if name_of(node) in _POSITIVE]
    entropies = ("LogSoftmaxBackward",)
    return [(n, word) for n, word in named if word != "cross_entropy" or tuple(map(name_of, parents_of(n))) == entropies]


def nodes_of_loss(root: Any, *, through_products: bool = True, through_bounds: bool = False) -> Iterator[Any]:
    """Nodes from the loss up to the layers.

    Args:
        root: of the graph.
        through_products: also behind products of two factors with gradients, which may be a gate's or an attention's.
        through_bounds: also behind softmax, sigmoid, tanh and ReLU, which may be the model's last function, or the loss's.
    """
    seen, todo = {id(root)}, [root]
    keep = [root]  # a node's Python object lives only while something refers to it, and so does its id
    while todo and len(seen) < _MAX_NODES_OF_LOSS:
        node = todo.pop(0)
        yield node
        is_bound = name_of(node) in _MAKES and name_of(node) not in _TAKES
        if name_of(node).removesuffix("Backward") in _LAYERS or (is_bound and not through_bounds):
            continue
        if not through_products and name_of(node).startswith("Mul") and len(parents_of(node)) > 1:
            continue
        for above in parents_of(node):
            if id(above) not in seen:
                seen.add(id(above))
                keep.append(above)
                todo.append(above)


def _width(node: Any) -> int | None:
    """Size of the dimension that a softmax runs over, as its node remembers it."""
    metadata = getattr(node, "_input_metadata", None)
    dim = getattr(node, "_saved_dim", None)
    if not metadata or dim is None or "oftmax" not in name_of(node):
        return None
    shape = tuple(metadata[0].shape)
    return int(shape[wrapped(dim, len(shape))]) if shape else None


def _leaves(root: Any) -> tuple[list[Tensor], bool]:
    leaves, opaque = [], False
    seen: dict[Any, None] = {root: None}
    todo = [root]
    while todo:
        node = todo.pop()
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        # Reentrant checkpoints and functions of a user's own may use parameters that their node does not list.
        opaque |= isinstance(node, torch.autograd.function.BackwardCFunction)
        for above in parents_of(node):
            if above not in seen:
                seen[above] = None
                todo.append(above)
    return leaves, opaque


def _hidden_in_attributes(model: nn.Module) -> dict[int, str]:
    """Parameters in plain containers, objects and closures that are attributes of modules, where PyTorch does not see them.

    And those of which an attribute is made, as by `nn.Parameter(table).float()`.
    """
    found: dict[int, str] = {}
    for prefix, module in model.named_modules():
        for attribute, value in vars(module).items():
            if attribute.startswith("_") and attribute.endswith(("parameters", "buffers", "modules", "hooks")):
                continue
            place = f"{prefix}.{attribute}".lstrip(".")
            for name, parameter in _inside(value, place, depth=0):
                found.setdefault(id(parameter), name)
            if isinstance(value, Tensor) and value.grad_fn is not None:
                for parameter in parameters_behind(value):
                    found.setdefault(id(parameter), place)
    return found


def _inside(value: Any, name: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    if depth > 3 or (isinstance(value, nn.Module) and depth == 0):
        return
    if isinstance(value, nn.Module):
        yield from ((f"{name}.{inner}", p) for inner, p in value.named_parameters())
    elif isinstance(value, Tensor) and depth > 0:
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _inside(item, f"{name}[{key!r}]", depth + 1)
    elif isinstance(value, list | tuple | set):
        for index, item in enumerate(value):
            yield from _inside(item, f"{name}[{index}]", depth + 1)
    elif isinstance(value, functools.partial):
        for item in (value.func, *value.args, *value.keywords.values()):
            yield from _inside(item, name, depth + 1)
    elif inspect.isfunction(value):
        for key, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # a cell that is not filled yet
                yield from _inside(cell.cell_contents, f"{name}.<locals>.{key}", depth + 1)
    elif _is_plain_object(value):
        for key, item in vars(value).items():
            yield from _inside(item, f"{name}.<{type(value).__name__}>.{key}", depth + 1)


def _is_plain_object(value: Any) -> bool:
    """Whether its class is a program's own, as of a part of a model that was not derived from `nn.Module`."""
    kind = type(value)
    home = kind.__module__.partition(".")[0]
    return hasattr(value, "__dict__") and not isinstance(value, type) and home not in _NOT_OWN
