"""Terms of a loss that it wants to be large, though they are never below zero."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.graph import positive_losses
from trainability.doctor.measure.nodes import parents_of
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_MOVED = 0.5  # of a weight's spread: other outputs, so that what is made of them is another


def maximised(leaves: list[Any], loss: Tensor, seen: ForwardPass, again: Callable[[], Tensor]) -> str | None:
    """The loss without values below zero of which more lowers the whole.

    Distances from what the outputs make themselves, as from the mean of a batch, are no loss where the rest has a gradient: a
    bonus keeps outputs apart.

    Args:
        leaves: with a gradient, which the whole depends on.
        loss: the whole, with its graph.
        seen: the pass that made it.
        again: computes the whole once more, with what the leaves hold then.

    Returns:
        Its name in PyTorch's words; None where any such term is to be small.
    """
    if float(loss.detach()) >= 0:
        return None
    terms, found = positive_losses(loss), []
    own = _of_own_targets(terms, leaves, again) if terms and _with_wrong_sign(leaves, loss, seen, terms) else []
    if own and not _has_rest(leaves, loss, own):
        own = []
    left = [(node, name) for node, name in terms if not any(node is each for each in own)]
    found = _with_wrong_sign(leaves, loss, seen, left, without=own)
    return found[0] if found else None


def _with_wrong_sign(
    leaves: list[Any], loss: Tensor, seen: ForwardPass, terms: list[tuple[Any, str]], without: list[Any] | None = None
) -> list[str]:
    """Names of the terms, and of those that the pass has seen, without some; none where one of them is to be small."""
    found, known = [], [(name, t) for name, t in seen.terms if not any(t.grad_fn is node for node in without or ())]
    if known:
        slopes = torch.autograd.grad(loss, [term for _, term in known], allow_unused=True, retain_graph=True)
        found = [(name, bool(g <= 0)) for (name, _), g in zip(known, slopes, strict=True) if g is not None]

    def look_at(name: str) -> Callable[[Any], None]:
        return lambda gradients: found.append((name, all(bool((g <= 0).all()) for g in gradients if g is not None)))

    if terms:
        with _hooked([(node, look_at(name)) for node, name in terms]):
            torch.autograd.grad(loss, leaves, allow_unused=True, retain_graph=True)
    return [name for name, _ in found] if all(negative for _, negative in found) else []


@contextmanager
def _hooked(hooks: list[tuple[Any, Callable[[Any], Any]]]) -> Iterator[None]:
    handles = [node.register_prehook(hook) for node, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _of_own_targets(terms: list[tuple[Any, str]], leaves: list[Any], again: Callable[[], Tensor]) -> list[Any]:
    """Nodes of the terms whose targets are others for other weights: they have a gradient, or had one."""
    before = [leaf.detach().clone() for leaf in leaves]
    with randomness_restored(), torch.enable_grad():
        seed_torch(0)
        plain = _targets(again())
        try:
            for leaf in leaves:  # by `data`, without a new version: the loss's graph is read after this
                spread = leaf.data.std() if leaf.numel() > 1 else leaf.data.abs()
                leaf.data.add_(_MOVED * spread * torch.randn_like(leaf.data))
            seed_torch(0)
            moved = _targets(again())
        finally:
            for leaf, value in zip(leaves, before, strict=True):
                leaf.data.copy_(value)
    if not len(plain) == len(moved) == len(terms):
        return []
    pairs = zip(terms, plain, moved, strict=True)
    return [node for (node, _), a, b in pairs if _is_told(node) or (a is not None and b is not None and not torch.equal(a, b))]


def _is_told(node: Any) -> bool:
    """Whether the target has a gradient of its own."""
    return len(parents_of(node)) > 1


def _targets(loss: Tensor) -> list[Tensor | None]:
    held = (getattr(node, "_saved_target", None) for node, _ in positive_losses(loss))
    return [t.detach().clone() if isinstance(t, Tensor) else None for t in held]


def _has_rest(leaves: list[Any], loss: Tensor, terms: list[Any]) -> bool:
    """Whether the loss has a gradient beside that of these terms."""

    def nothing(gradients: Any) -> Any:
        return tuple(None if g is None else torch.zeros_like(g) for g in gradients)

    with _hooked([(node, nothing) for node in terms]):
        rest = torch.autograd.grad(loss, leaves, allow_unused=True, retain_graph=True)
    return any(g is not None and bool(g.any()) for g in rest)
