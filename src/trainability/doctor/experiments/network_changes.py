"""Changes of the network: its end, activations, dropout, batch norm, precision, order of dimensions."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.batches import first_examples, map_parts
from trainability.doctor.experiments.function_changes import (
    calls_dropout,
    exchange_calls,
    hidden_calls,
    without_dropout_calls,
)
from trainability.doctor.experiments.intervention import Intervention, named
from trainability.doctor.experiments.variant import Variant, look
from trainability.doctor.measure.nested import modules
from trainability.doctor.measure.randomness import random_state

_TINY = 1e-30
_RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Softplus)
_SATURATING = (nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardsigmoid, nn.Softsign)
_PROBABLE = (nn.Sigmoid, nn.Softmax)
_RELU_CALLS = (torch.relu, Tensor.relu, F.relu, F.relu6)
_SATURATING_CALLS = (
    torch.sigmoid,
    Tensor.sigmoid,
    F.sigmoid,
    F.hardsigmoid,
    torch.tanh,
    Tensor.tanh,
    F.tanh,
    F.hardtanh,
    F.softsign,
)
_LOW = (torch.float16, torch.bfloat16)


def _probabilities(variant: Variant) -> int | None:
    """The dimension of classes over which the outputs are probabilities; None if they are not."""
    output, task = variant.output, variant.task
    if output is None or output.dim() < 2 or task.loss not in ("cross_entropy", "nll_loss"):
        return None
    width = -1 if task.kind == "token_classification" else 1
    values = output.detach().float()
    if bool((values >= 0).all()) and bool(((values.sum(dim=width) - 1).abs() < 1e-3).all()):
        return width
    return None


def _change_output(variant: Variant, module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    """Changes what a module returns, where that is a tensor."""

    def changed(module: nn.Module, args: Any, output: Any) -> Any:
        return change(output) if isinstance(output, Tensor) else output

    variant.closing.callback(module.register_forward_hook(changed).remove)


def _takes_probabilities_for_logits(variant: Variant) -> bool:
    output = variant.output
    if output is None or variant.task.loss != "binary_cross_entropy_with_logits":
        return False
    return bool(((output >= 0) & (output <= 1)).all())


def _last(variant: Variant) -> tuple[nn.Module, str, nn.Module] | None:
    """The activation that the model ends in, with its owner and name there; what makes probabilities, of a regression only."""
    if len(modules(variant.model)) != 1:
        return None
    owner: nn.Module = modules(variant.model)[0]
    kinds = (*_RECTIFIERS, nn.Tanh, *(_PROBABLE if variant.task.kind == "regression" else ()))
    while isinstance(owner, nn.Sequential) or not isinstance(owner, kinds):
        children = list(owner.named_children())
        if not children:
            return None
        name, last = children[-1]
        if isinstance(last, kinds):
            return owner, name, last
        owner = last
    return None


def _without_last(variant: Variant) -> None:
    found = _last(variant)
    assert found is not None
    owner, name, _ = found
    owner._modules[name] = nn.Identity()


def _hidden(variant: Variant, kinds: tuple[type[nn.Module], ...]) -> list[tuple[nn.Module, str]]:
    found = _last(variant)
    last = found[2] if found is not None else None
    ends = variant.parts[-1] if variant.parts else None
    return [
        (owner, name)
        for owner in variant.parts
        for name, child in owner._modules.items()
        if isinstance(child, kinds) and child is not last and child is not ends
    ]


def _exchange(
    variant: Variant, kinds: tuple[type[nn.Module], ...], calls: tuple[Any, ...], new: Callable[[], nn.Module]
) -> None:
    """Exchanges modules, and functions that the forward pass calls itself."""
    for owner, name in _hidden(variant, kinds):
        owner._modules[name] = new()
    exchange_calls(variant, calls, new())


def _stacked(variant: Variant) -> list[nn.Module]:
    """First layers of pairs with nothing between them."""
    facts = variant.evidence.facts
    names = {pair.first for pair in facts.stacked} if facts is not None else set()
    return [module for model in modules(variant.model) for name, module in model.named_modules() if name in names]


def _with_relu_between(variant: Variant) -> None:
    for layer in _stacked(variant):
        _change_output(variant, layer, torch.relu)


def _positions(variant: Variant) -> tuple[str, nn.Module] | None:
    """The name of a table of positions that is not used, and the first module that returns (batch, tokens, its width).

    It is one where its module is asked for the places 0, 1, ... of all tokens, or it has as many rows as there are tokens, or
    one more.
    """
    facts = variant.evidence.facts
    lost = [p.name for p in facts.unreached if p.reason in ("dropped", "unused")] if facts is not None else []
    if len(modules(variant.model)) != 1 or not lost:
        return None
    model = modules(variant.model)[0]
    tables = {name: table for name in lost if (table := _table(model, name)) is not None}
    calls: list[tuple[nn.Module, Any, Tensor]] = []

    def called(part: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            calls.append((part, args[0] if args else None, output))

    with contextlib.ExitStack() as stack:
        for part in model.modules():
            stack.callback(part.register_forward_hook(called).remove)
        with torch.no_grad():
            look(variant, variant.loop(), first_examples(variant.reference, 2), random_state())
    for name, table in tables.items():
        own = model.get_submodule(name.rpartition(".")[0])
        asked = [given for part, given, _ in calls if part is own and isinstance(own, nn.Embedding)]
        for part, _, output in calls:
            fits = part not in (own, model) and output.dim() == 3 and output.shape[2] == table.shape[1]
            if fits and _are_places(asked, output.shape[1], len(table)):
                return name, part
    return None


def _are_places(asked: list[Any], tokens: int, rows: int) -> bool:
    places = torch.arange(tokens)
    if asked:
        return isinstance(asked[0], Tensor) and asked[0].shape[-1:] == places.shape and bool((asked[0].cpu() == places).all())
    return rows in (tokens, tokens + 1)


def _table(model: nn.Module, name: str) -> Tensor | None:
    """(rows, width) of an embedding, or of a parameter that is no layer's weight or bias; None of others."""
    owner, _, own = name.rpartition(".")
    parameters = dict(model.named_parameters())
    if name not in parameters or (own in ("weight", "bias") and not isinstance(model.get_submodule(owner), nn.Embedding)):
        return None
    table = parameters[name].squeeze(0) if parameters[name].dim() == 3 else parameters[name]
    return table if table.dim() == 2 else None


def _with_positions(variant: Variant) -> None:
    found = _positions(variant)
    assert found is not None
    name, part = found
    table = _table(modules(variant.model)[0], name)
    assert table is not None
    _change_output(variant, part, lambda output: output + table[: output.shape[1]])


def _dropping(variant: Variant) -> list[tuple[nn.Module, str]]:
    """Modules that drop units, and the attribute that says how many."""
    return [
        (module, name)
        for module in variant.parts
        for name in ("p", "dropout")
        if isinstance(getattr(module, name, None), float | int)
        and not isinstance(getattr(module, name), bool)
        and getattr(module, name) > 0
        and (name == "dropout" or isinstance(module, nn.modules.dropout._DropoutNd))
    ]


def _without_dropout(variant: Variant) -> None:
    for module, name in _dropping(variant):
        setattr(module, name, 0.0)
    without_dropout_calls(variant)


def _norms(variant: Variant) -> list[nn.modules.batchnorm._BatchNorm]:
    return [module for module in variant.parts if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def _is_unusual(norm: nn.modules.batchnorm._BatchNorm) -> bool:
    shifted = norm.running_var is not None and bool((norm.running_var.log10().abs() > 1).any())
    return norm.momentum != 0.1 or not 1e-6 <= norm.eps <= 1e-3 or shifted


def _usual_norms(variant: Variant) -> None:
    for norm in _norms(variant):
        norm.momentum, norm.eps = 0.1, 1e-5
        norm.reset_running_stats()


def _time_first(variant: Variant) -> list[nn.Module]:
    kinds = (nn.RNNBase, nn.MultiheadAttention)
    return [module for module in variant.parts if isinstance(module, kinds) and not module.batch_first]


def _batch_first(variant: Variant) -> None:
    for module in _time_first(variant):
        module.batch_first = True  # type: ignore[assignment]


def _low_precision(variant: Variant) -> bool:
    return not variant.in_place and any(p.dtype in _LOW for p in variant.parameters)


def _in_float32(variant: Variant) -> None:
    for tensor in (*variant.parameters, *(b for model in modules(variant.model) for b in model.buffers())):
        if tensor.dtype in _LOW:
            tensor.data = tensor.data.float()

    def widened(value: Any) -> Any:
        is_low = isinstance(value, Tensor) and value.dtype in _LOW
        return value.float() if is_low else map_parts(value, widened)

    for model in modules(variant.model):
        handle = model.register_forward_pre_hook(lambda module, args: widened(args))
        variant.closing.callback(handle.remove)


def _log_probabilities(variant: Variant) -> None:
    _change_output(variant, modules(variant.model)[0], lambda output: output.clamp_min(_TINY).log())


def _logits(variant: Variant) -> None:
    _change_output(
        variant, modules(variant.model)[0], lambda output: output.clamp_min(_TINY).log() - (1 - output).clamp_min(1e-7).log()
    )


NETWORK_CHANGES = named(
    Intervention(
        name="softmax_off",
        change="softmax at the end removed",
        applies=lambda variant: _probabilities(variant) is not None,
        make=_log_probabilities,
        answers=("softmax_twice", "capped_loss", "loss_below_floor"),
    ),
    Intervention(
        name="sigmoid_off",
        change="sigmoid at the end removed",
        applies=_takes_probabilities_for_logits,
        make=_logits,
        answers=("softmax_twice", "capped_loss"),
    ),
    Intervention(
        name="last_activation_off",
        change="activation at the end removed",
        applies=lambda variant: _last(variant) is not None,
        make=_without_last,
        answers=("clamped_logits", "unreachable_target", "capped_loss"),
    ),
    Intervention(
        name="dropout_off",
        change="no dropout",
        applies=lambda variant: bool(_dropping(variant)) or calls_dropout(variant),
        make=_without_dropout,
        answers=("heavy_dropout", "random_evaluation.dropout"),
    ),
    Intervention(
        name="norm_usual",
        change="batch norm with fresh statistics, momentum 0.1 and eps 1e-5",
        applies=lambda variant: any(map(_is_unusual, _norms(variant))),
        make=_usual_norms,
        is_setting=True,
        answers=("evaluation_mode", "wrong_mode"),
    ),
    Intervention(
        name="batch_first",
        change="batch_first=True in recurrent and attention layers",
        applies=lambda variant: bool(_time_first(variant)),
        make=_batch_first,
        answers=("batch_leakage",),
    ),
    Intervention(
        name="relu_between",
        change="a ReLU between linear layers that follow each other",
        applies=lambda variant: bool(_stacked(variant)),
        make=_with_relu_between,
        answers=("linear_stack",),
    ),
    Intervention(
        name="positions_added",
        change="the unused table of positions added to the tokens",
        applies=lambda variant: _positions(variant) is not None,
        make=_with_positions,
        answers=("unreached_parameter.dropped", "unreached_parameter.unused"),
    ),
    Intervention(
        name="float32",
        change="parameters in float32",
        applies=_low_precision,
        make=_in_float32,
        is_setting=True,
        answers=("eps_underflow", "underflow"),
    ),
    Intervention(
        name="relu",
        change="ReLU in place of saturating activations",
        applies=lambda variant: bool(_hidden(variant, _SATURATING) or hidden_calls(variant, _SATURATING_CALLS)),
        make=lambda variant: _exchange(variant, _SATURATING, _SATURATING_CALLS, nn.ReLU),
        answers=("saturation", "vanishing_gradient"),
        family="activation",
    ),
    Intervention(
        name="leaky_relu",
        change="leaky ReLU in place of ReLU",
        applies=lambda variant: bool(_hidden(variant, (nn.ReLU, nn.ReLU6)) or hidden_calls(variant, _RELU_CALLS)),
        make=lambda variant: _exchange(variant, (nn.ReLU, nn.ReLU6), _RELU_CALLS, functools.partial(nn.LeakyReLU, 0.1)),
        answers=("dead_units",),
        family="activation",
    ),
)
