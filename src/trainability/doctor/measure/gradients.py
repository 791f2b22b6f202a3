"""What gradients, weights and outputs of one step show: zeros, units that are alike, answers that are all the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from trainability.doctor.measure import statistics
from trainability.doctor.measure.columns import RECURRENT
from trainability.doctor.measure.twins import identical_modules, multiplies_a_matrix, near_constant, rows_alike
from trainability.doctor.theory.signal import NORMALISATIONS

_SMALL = 0.3  # rms of a normalisation's weights


def gradient_facts(model: nn.Module, gradients: Mapping[str, Tensor | None]) -> dict[str, Any]:
    """Gradients that are zero, and what starts alike.

    Args:
        model: the plain module.
        gradients: of its trainable parameters by name, None where there is none.

    Returns:
        Fields of `Facts`.
    """
    zero, weights_with, moving, twins = [], 0, False, []
    for name, p in model.named_parameters():
        gradient = gradients.get(name)
        if gradient is None or gradient.is_sparse:
            moving |= gradient is not None
            continue
        is_zero = not bool(gradient.any())
        if is_zero:
            zero.append(name)
        if p.dim() > 1:
            weights_with += 1
            moving |= not is_zero
            if len(p) > 1 and rows_alike(p.detach()) and rows_alike(gradient):
                is_layer = multiplies_a_matrix(model, name)
                # A gain of ones whose gradient is zero until a head of zeros has moved is no layer: its numbers part then. Nor
                # do rows of one number tell: a gain (channels, 1) is a matrix by its shape alone.
                twins.append((name, is_zero, not bool(p.detach().any()), is_layer, p[0].numel() > 1))
    no_move = weights_with > 0 and not moving
    return {
        "zero_gradient": tuple(zero),
        "num_gradients": sum(gradient is not None for gradient in gradients.values()),
        "no_weight_moves": no_move,
        # Zeros that only zeros follow (a control net's first layer) begin to move once those have.
        "identical_units": tuple(
            name
            for name, is_zero, is_empty, is_layer, is_wide in twins
            if no_move or not (is_zero and is_empty)
            if is_layer or (is_wide and (no_move or not is_zero))
        ),
        "near_constant": near_constant(model),
        "identical_modules": identical_modules(model, gradients),
    }


def output_facts(output: Tensor | None, given: Tensor | None) -> dict[str, Any]:
    """Answers that are the same whatever is asked.

    Args:
        output: first tensor that the model returned, with its graph.
        given: first tensor that it was given.

    Returns:
        Fields of `Facts`.
    """
    spread = None
    if output is not None and output.dim() > 0 and len(output) > 3 and output.is_floating_point():
        spread = float((output.detach() - output.detach()[:1]).abs().max())
    differ = given is not None and given.dim() > 0 and len(given) > 1 and bool((given != given[:1]).any())
    makes = type(output.grad_fn).__name__ if output is not None and output.grad_fn is not None else ""
    return {
        "constant_output": spread == 0.0 and differ,
        "single_output_softmax": makes.startswith(("SoftmaxBackward", "LogSoftmaxBackward"))
        and output is not None
        and output.shape[-1] == 1,
    }


def drawn_norms(model: nn.Module) -> tuple[str, ...]:
    """Normalisations whose weights were drawn around zero, as a layer's are: of both signs, and small.

    Ones are usual, and zeros at the end of a residual branch, or 1 plus a draw; none of these has small numbers of both signs.

    Returns:
        Their names, where half of the model's normalisations with weights are such; none elsewhere.
    """
    own = {
        name: dict(module.named_parameters(recurse=False))
        for name, module in model.named_modules()
        if isinstance(module, NORMALISATIONS)
    }
    weights = {name: found["weight"].detach() for name, found in own.items() if found.get("weight") is not None}
    drawn = [
        name
        for name, w in weights.items()
        if w.numel() > 1 and bool((w > 0).any()) and bool((w < 0).any()) and float(statistics.rms(w)) < _SMALL
    ]
    return tuple(drawn) if drawn and 2 * len(drawn) >= len(weights) else ()


def recurrence(model: nn.Module) -> tuple[str, float] | None:
    """The recurrent layer whose recurrent weights are largest, with their rms times the root of their width.

    Weights that are computed from others (`torch.nn.utils.parametrizations`) are left out.
    """
    gains = {
        name: max(float(statistics.rms(w.detach()) * w.shape[1] ** 0.5) for w in own)
        for name, module in model.named_modules()
        if isinstance(module, RECURRENT)
        and (own := [w for n, w in module.named_parameters(recurse=False) if n.startswith("weight_hh")])
    }
    return max(gains.items(), key=lambda item: item[1]) if gains else None


def kept_by_gates(model: nn.Module) -> tuple[str, float] | None:
    """The recurrent layer whose gates keep least of the state from step to step, and how much of it the middle unit keeps.

    That is the sigmoid of both biases of an LSTM's forget gate, or a GRU's update gate, alone: what inputs and state add has
    both signs. Layers without biases, or with biases that are computed, are left out.
    """
    kept: dict[str, float] = {}
    for name, module in model.named_modules():
        if not isinstance(
            module, nn.LSTM | nn.LSTMCell | nn.GRU | nn.GRUCell
        ):  # gates i, f, g, o and r, z, n: the second keeps
            continue
        own = {n: p.detach() for n, p in module.named_parameters(recurse=False) if n.startswith("bias_")}
        size = module.hidden_size
        for n, p in own.items():
            other = own.get(n.replace("bias_ih", "bias_hh"))
            if n.startswith("bias_ih") and other is not None and statistics.is_readable(p):
                share = float((p + other)[size : 2 * size].float().sigmoid().median())
                kept[name] = min(share, kept.get(name, 1.0))
    return min(kept.items(), key=lambda item: item[1]) if kept else None
