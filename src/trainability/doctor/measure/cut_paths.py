"""Weights that the answer depends on, and that it hands no gradient back to, though a side term of the loss reaches them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import first_tensor, map_parts, tensors
from trainability.doctor.measure.forward_pass import ForwardPass, callable_model
from trainability.doctor.measure.graph import leaves_of
from trainability.doctor.measure.instead import loss_of, pull, returned_once
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
_SAME = 1e-5  # of a gradient's norm
_LARGE, _SMALL = 1.0, 1e-3  # moves of a weight, over its size; the latter changes few choices
_MOST_ASKED = 64  # weights, with a forward pass each
_PARALLEL = 0.999
_NEAR = 1e-4  # relative

Forward = Callable[[Any, Any], Tensor]


def cut_paths(model: nn.Module, batch: Any, forward: Forward, loss: Tensor, seen: ForwardPass) -> tuple[str, ...]:
    """Find weights of which the answer is made through something without a gradient: a choice, a rounding, a detach().

    Args:
        model: called once in the pass; or never, of a batch of one tensor, where a part that is called once answers for it.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.
        loss: with its graph.
        seen: the same pass.

    Returns:
        Names of weights of linear layers and convolutions that the first tensor returned depends on and has no path to, while
        the loss has one: through a term that targets have no part in. A table that is chosen from is none of them: it is
        taught by its own cost, and what it is compared with by the answer. () where they are trained by a loss of their own:
        another tensor with rows that the model returns reaches them, and is no code with a price, or that loss has weights that
        the answer does not go by, or the answer is of one linear layer that is given detached features, and the loss is no
        penalty of weights (a probe).
    """
    output = seen.output
    by_part = not seen.calls and len(seen.batch) == 1 and seen.last is not None  # without targets, and what may be for them
    if not (len(seen.calls) == 1 or by_part) or output is None or not output.requires_grad or output.dim() == 0:
        return ()
    by_answer, opaque = leaves_of(output)
    by_loss, hidden = leaves_of(loss)
    asked = (lambda: _by_part(model, batch, forward, seen)) if by_part else (lambda: callable_model(seen)(*seen.inputs))
    with_rows = [t for t in seen.returned if t is not output and t.requires_grad and t.dim() > 0 and t.numel() > 1]
    is_own = with_rows and not _have_a_price(model, batch, forward, output)
    elsewhere = set().union(*(leaves_of(t)[0] for t in with_rows)) if is_own else set()
    cut = {
        name: p
        for name, p in model.named_parameters()
        if p.requires_grad and id(p) in by_loss and id(p) not in by_answer | elsewhere and _is_layers(model, name, seen)
    }
    if opaque or hidden or not cut or not by_answer or len(cut) > _MOST_ASKED:
        return ()
    weights = list(cut.values())
    if not all(_share_changed([weight], asked, _LARGE) for weight in weights):
        return ()
    own, other = _gradients(model, batch, forward, weights, seen)
    if other is not None and _differ(own, other):
        return ()
    owners = {name.rpartition(".")[0] for name, p in model.named_parameters() if id(p) in by_answer}
    is_probe = len(owners) == 1 and isinstance(model.get_submodule(*owners), nn.Linear)
    if is_probe and not all(map(_is_penalty, weights, own)) and _share_changed(weights, asked, _SMALL) > 0.5:
        return ()
    return tuple(cut)


def _have_a_price(model: nn.Module, batch: Any, forward: Forward, output: Tensor) -> bool:
    """Whether what the model returns beside its first tensor only costs something, as the mean and spread of a code do.

    Tested so: the loss stays the same when rows change places, and a row's gradient does not depend on the other rows.
    """
    own = returned_once(model, batch, forward)
    if own is None or len(own.tensors) < 2 or own.tensors[0].shape != output.shape:
        return False
    first, *others = own.tensors
    if any(t.dim() == 0 or len(t) != len(first) or len(t) < 3 or not t.is_floating_point() for t in others):
        return False
    turned = [t.roll(1, dims=0) for t in others]
    alike = [torch.cat([t[:1], t[1:2].expand(len(t) - 1, *t.shape[1:])]) for t in others]
    try:
        before, after = (float(loss_of(model, batch, forward, own, [first, *rows]).detach()) for rows in (others, turned))
        ways = [
            [pull(model, batch, forward, own, answers=[first, *rows], place=place) for rows in (others, alike)]
            for place in range(1, len(own.tensors))
        ]
    except (RuntimeError, ValueError):
        return False
    rows = [(one[0], other[0]) for one, other in ways if one is not None and other is not None]
    is_each_s_own = all(float((one - other).abs().max()) <= _NEAR * float(one.abs().max()) for one, other in rows)
    return bool(rows) and is_each_s_own and abs(after - before) <= _NEAR * abs(before)


def _is_layers(model: nn.Module, name: str, seen: ForwardPass) -> bool:
    """Whether it is the weight of a layer that ran on numbers: what it makes goes by what it is given."""
    owner, _, own = name.rpartition(".")
    return own == "weight" and owner in seen.called and isinstance(model.get_submodule(owner), _LAYERS)


def _by_part(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass) -> Any:
    """What the part that answers for the model returns; nothing where it is called several times."""
    assert seen.last is not None
    answers: list[Any] = []
    handle = seen.last.model.register_forward_hook(lambda module, args, output: answers.append(output))
    try:
        forward(model, batch)
    finally:
        handle.remove()
    return answers[0] if len(answers) == 1 else None


def _share_changed(weights: list[nn.Parameter], asked: Callable[[], Any], size: float) -> float:
    """Share of the answer's rows that change as these weights do; 0 where the answer does not repeat."""
    kept = [p.detach().clone() for p in weights]
    draws = torch.Generator().manual_seed(0)

    def answer() -> Tensor | None:
        with torch.no_grad(), randomness_restored():
            seed_torch(0)
            return first_tensor(asked())

    before, again = answer(), answer()
    try:
        with torch.no_grad():
            for p, old in zip(weights, kept, strict=True):
                p.add_(size * torch.randn(p.shape, generator=draws).to(p) * (0.1 + old.abs().mean()))
        after = answer()
    finally:
        with torch.no_grad():
            for p, old in zip(weights, kept, strict=True):
                p.copy_(old)
    if before is None or again is None or after is None or before.shape != after.shape or not torch.equal(before, again):
        return 0.0
    return float((before != after).reshape(len(before), -1).any(dim=1).float().mean())


def _gradients(
    model: nn.Module, batch: Any, forward: Forward, weights: list[nn.Parameter], seen: ForwardPass
) -> tuple[list[Tensor | None], list[Tensor | None] | None]:
    """The weights' gradients; and those with other targets (what the batch holds and the model is not given), if it has any."""
    given = {t.data_ptr() for _, t in tensors(seen.inputs)}
    targets = [t for _, t in seen.batch if t.data_ptr() not in given and t.dim() > 0 and len(t) > 1] if seen.calls else []

    def change(part: Any) -> Any:
        if isinstance(part, Tensor):
            return part.roll(1, dims=0) if any(part.data_ptr() == t.data_ptr() for t in targets) else part
        return map_parts(part, change)

    def ask(asked: Any) -> list[Tensor | None]:
        with torch.enable_grad(), randomness_restored():
            seed_torch(0)
            found = torch.autograd.grad(forward(model, asked).sum(), weights, allow_unused=True)
        return [g.detach().float() if g is not None else None for g in found]

    return ask(batch), ask(change(batch)) if targets else None


def _differ(own: list[Tensor | None], other: list[Tensor | None]) -> bool:
    """Whether what reaches the weights changes with targets."""
    if any((a is None) != (b is None) for a, b in zip(own, other, strict=True)):
        return True
    pairs = [(a, b) for a, b in zip(own, other, strict=True) if a is not None and b is not None]
    apart = sum(float((a - b).norm()) ** 2 for a, b in pairs) ** 0.5
    return apart > _SAME * sum(float(a.norm()) ** 2 for a, _ in pairs) ** 0.5


def _is_penalty(weight: nn.Parameter, gradient: Tensor | None) -> bool:
    """Whether a gradient is of the weight alone: of its squares, or of its sizes."""
    if gradient is None or not bool(gradient.any()):
        return True
    flat = weight.detach().float().flatten()
    along = [torch.cosine_similarity(gradient.flatten(), each, dim=0) for each in (flat, flat.sign())]
    return max(map(float, along)) > _PARALLEL
