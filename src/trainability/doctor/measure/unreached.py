"""Parameters that no gradient reaches, told apart by the reason."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.facts import Unreached
from trainability.doctor.graph_facts import MOST_ASKED
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.graph import leaves_of
from trainability.doctor.measure.randomness import seed_torch

Forward = Callable[[Any, Any], Tensor]


def unreached(
    model: nn.Module,
    batch: Any,
    forward: Forward,
    loss: Tensor,
    seen: ForwardPass,
    managed: set[str] | None,
    turns: Iterable[set[str]] = (),
) -> dict[str, Any]:
    """The field `unreached` of `Facts`: parameters that no gradient of the loss reaches, and why of each.

    Args:
        model: as in the loop, in train mode.
        batch: what it was asked.
        forward: of (model, batch), the loss.
        loss: of that batch, with its graph.
        seen: the forward pass that made it.
        managed: names of the parameters that the optimizer holds; None or none of them: all count.
        turns: names of the parameters of each of several models or optimizers: if no loss of this batch reaches any of them, a
            later batch may train them.
    """
    reached, opaque = leaves_of(loss)
    missing = {
        name: p
        for name, p in model.named_parameters()
        if p.requires_grad and id(p) not in reached and (not managed or name in managed)
    }
    if opaque or not missing or len(missing) == sum(p.requires_grad for p in model.parameters()):
        return {}
    returned: set[int] = set()
    for tensor in seen.returned:
        if tensor.grad_fn is not None:
            returned |= leaves_of(tensor)[0]

    def ask() -> float:
        with torch.no_grad(), torch.random.fork_rng(devices=[loss.device] if loss.is_cuda else []):
            seed_torch(0)
            return float(forward(model, batch).sum())

    waiting = {name for names in turns if names and names <= missing.keys() for name in names}
    before = ask()
    repeats = before == ask()
    found = []
    for name, p in list(missing.items())[:MOST_ASKED]:
        if not repeats:
            reason = "unknown"
        elif _changes_loss(p, ask, before):  # of what the model returns, too: item() and float() leave the value
            reason = "turn" if name in waiting else "detached"
        elif id(p) in returned:
            reason = "not in the loss"
        else:
            spare = p.dim() < 2 and _is_used(model, name, reached)
            reason = "spare" if spare else "dropped" if _was_computed(model, name, seen) else "unused"
            reason = "last_block" if reason == "dropped" and _is_handed_on(model, name, reached, seen.called) else reason
        found.append(Unreached(name=name, reason=reason))
    if any(p.reason == "last_block" for p in found):  # a block may have many parameters
        rest = [name for name in list(missing)[MOST_ASKED:] if _is_handed_on(model, name, reached, seen.called)]
        found += [Unreached(name=name, reason="last_block") for name in rest]
    return {"unreached": tuple(found)}


def _changes_loss(parameter: Tensor, ask: Callable[[], float], before: float) -> bool:
    kept = parameter.detach().clone()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[parameter.device] if parameter.is_cuda else []):
            seed_torch(1)
            parameter.add_(torch.randn_like(parameter) * (1.0 + kept.abs().mean()))
        return ask() != before
    finally:
        with torch.no_grad():
            parameter.copy_(kept)


def _is_used(model: nn.Module, name: str, reached: set[int]) -> bool:
    """Whether a gradient reaches others of the module that owns the parameter: what it makes is used, without this one."""
    return any(id(p) in reached for p in model.get_submodule(name.rpartition(".")[0]).parameters())


def _was_computed(model: nn.Module, name: str, seen: ForwardPass) -> bool:
    """Whether the module that owns the parameter ran; a parameter of a module with others inside is asked for by hand."""
    owner = name.rpartition(".")[0]
    return owner in seen.called


def _is_handed_on(model: nn.Module, name: str, reached: set[int], called: Iterable[str]) -> bool:
    """Whether a parameter makes what a block hands on to the next, and its block is the last.

    A block is a part of a list, or the parts with one number of several lists that run by turns. The same parameter of all
    blocks before is reached, and so are others of the last block.
    """
    named, order = dict(model.named_parameters()), {each: place for place, each in enumerate(called)}
    parts = name.split(".")
    for at, part in enumerate(parts[:-1]):
        own, behind = ".".join(parts[:at]), ".".join(parts[at + 1 :])
        last = _num_parts(model, own) - 1
        if last < 1 or part != str(last):
            continue
        alike = [named.get(f"{own}.{k}.{behind}".lstrip(".")) for k in range(last)]
        if not all(p is not None and p.shape == named[name].shape and id(p) in reached for p in alike):
            continue
        whole = own.rpartition(".")[0]
        beside = (f"{whole}.{each}".lstrip(".") for each, _ in model.get_submodule(whole).named_children())
        lists = [
            each for each in beside if each == own or (_num_parts(model, each) == last + 1 and _by_turns(own, each, order))
        ]
        block = tuple(f"{each}.{part}.".lstrip(".") for each in (lists if own else [own]))
        if any(each.startswith(block) and id(p) in reached for each, p in named.items()):
            return True
    return False


def _num_parts(model: nn.Module, name: str) -> int:
    module = model.get_submodule(name)
    return len(module) if isinstance(module, nn.ModuleList | nn.Sequential) else 0


def _by_turns(one: str, other: str, order: dict[str, int]) -> bool:
    """Whether the parts of two lists run in pairs: each number of both before the next."""
    pairs: dict[int, list[int]] = {}
    for name, place in order.items():
        owner, _, number = name.rpartition(".")
        if owner in (one, other) and number.isdigit():
            pairs.setdefault(int(number), []).append(place)
    places = [pairs[number] for number in sorted(pairs)]
    return all(len(each) == 2 for each in places) and all(max(a) < min(b) for a, b in itertools.pairwise(places))
