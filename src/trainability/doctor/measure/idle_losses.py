"""Losses of a loop's body that move nothing: their gradients are cleared before an optimizer steps on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from trainability.doctor.batches import tensors, to_device
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.graph import managed_parameters
from trainability.doctor.measure.nested import modules, named_players, optimizers
from trainability.doctor.measure.nodes import name_of, parents_of, within
from trainability.doctor.measure.put_back import put_back, variables_put_back
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.uses import reaches, used_by
from trainability.doctor.opponents import IdleLoss

_BODIES, _FEWEST = 6, 2  # runs of the body; those in which the same loss has to be cleared
_MOST_NODES = 20_000
# What a loop does to gradients that leaves them a multiple of what a loss gave.
_SCALES = frozenset(
    (
        *("__get__", "__set__", "zero_", "_foreach_zero_", "detach_", "requires_grad_", "mul_", "_foreach_mul_", "div_"),
        *("norm", "linalg_vector_norm", "vector_norm", "_foreach_norm", "clamp_", "_foreach_clamp_min_", "isnan", "isfinite"),
        *("any", "all", "is_sparse", "_foreach_div_", "dim", "size", "numel", "item", "_foreach_clamp_max_"),
    )
)
_MEASURES = frozenset(("norm", "linalg_vector_norm", "vector_norm", "_foreach_norm"))
_OPAQUE = ("Checkpoint", "CompiledFunction")


class _Watch(TorchFunctionMode):
    """Follows the gradient of each backward pass of a body to the step that uses it, or to where it is cleared.

    Attributes:
        moved: by the place of a backward pass in the body, the parameters that changed while they held its gradient.
        cleared: likewise, those whose gradient was cleared instead; in how many bodies.
        terms: likewise, for each run of the body, what each term of the loss reaches.
        called: likewise, when each parameter was last used before it, in the last run: what makes comes before what judges.
        of: likewise, parameters that the loss was computed with, whether or not it has a gradient for them.
        stepping: likewise, the optimizers that stepped right behind it, by place.
        got: parameters that any loss gave a gradient.
        lost: gradients were used in another way.
        read: places of backward passes behind which the norm of a gradient was taken, as to print it.
        own: of each parameter of the models by its id, the set that holds this id alone.
    """

    def __init__(self, parameters: list[nn.Parameter], own_optimizers: list[torch.optim.Optimizer]) -> None:
        super().__init__()
        self.moved: dict[int, set[int]] = {}
        self.cleared: dict[int, dict[int, int]] = {}
        self.terms: dict[int, list[list[frozenset[int]]]] = {}
        self.stepping: dict[int, set[int]] = {}
        self.of: dict[int, set[int]] = {}
        self.called: dict[int, dict[int, int]] = {}
        self._used: dict[int, int] = {}
        self._count = 0
        self._made: WeakIdKeyDictionary = WeakIdKeyDictionary()  # parameters that a tensor was computed with
        self.got: set[int] = set()
        self.lost, self.place = False, 0
        self.read: set[int] = set()
        self._now: int | None = None
        self._is_aside = False
        self._parameters = parameters
        self.own = {id(p): frozenset((id(p),)) for p in parameters}
        self._held: dict[int, set[int]] = {}  # backward passes whose gradient a parameter holds
        self._values: dict[int, Tensor] = {}  # of a parameter when it last got one
        self._gradients: dict[int, Tensor] = {}
        self._handles = [p.register_hook(self._on_gradient(p)) for p in parameters if p.requires_grad]
        for k, optimizer in enumerate(own_optimizers):
            self._handles.append(optimizer.register_step_pre_hook(self._on_step(k)))
            self._handles.append(optimizer.register_step_post_hook(self._on_stepped))

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is not Tensor.backward:
            result = func(*args, **(kwargs or {}))
            if not self._is_aside:
                self._look(getattr(func, "__name__", ""), args, result)
                self._follow((args, kwargs), result)
            return result
        self._now = self.place
        self.place += 1
        with torch._C.DisableTorchFunction():
            self.terms.setdefault(self._now, []).append(_reached_by_terms(args[0]))
            self.of.setdefault(self._now, set()).update(self._of(args[0]))
            self.called[self._now] = dict(self._used)
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self._now = None
            with torch._C.DisableTorchFunction():
                self._gradients = {id(p.grad): p.grad for p in self._parameters if p.grad is not None}

    def begin(self) -> None:
        """The body runs once more."""
        self.place = 0

    def close(self) -> None:
        """Listen no more, and settle what is known of the last run."""
        for handle in self._handles:
            handle.remove()
        for p in self._parameters:
            if p.grad is None or not bool(p.grad.any()):
                self._settle(p)

    def _look(self, name: str, args: tuple, result: Any) -> None:
        """Gradients that are copied, joined or written by hand are used in a way that no step shows."""
        given = [item for arg in args for item in (arg if isinstance(arg, list | tuple) else [arg]) if isinstance(item, Tensor)]
        if name == "__set__":
            is_parameter = isinstance(given[0], nn.Parameter) if given else False
            self.lost |= is_parameter and len(given) > 1 and any(given[0] is p for p in self._parameters)
        elif any(id(item) in self._gradients for item in given):
            if name == "__get__" and isinstance(result, Tensor):
                self._gradients[id(result)] = result
            self.lost |= name not in _SCALES
            if name in _MEASURES:
                self.read.add(self.place - 1)

    def _of(self, tensor: Tensor) -> frozenset[int]:
        return self._made[tensor] if tensor in self._made else self.own.get(id(tensor), frozenset())

    def _follow(self, given: Any, result: Any) -> None:
        with torch._C.DisableTorchFunction():
            taken = [tensor for _, tensor in tensors(given)]
            self._count += 1
            self._used |= {id(tensor): self._count for tensor in taken if id(tensor) in self.own}
            of = frozenset().union(*(self._of(tensor) for tensor in taken))
            if of:
                for _, made in tensors(result):
                    self._made[made] = of | self._of(made)

    def _on_gradient(self, p: nn.Parameter) -> Callable[[Tensor], None]:
        def came(gradient: Tensor) -> None:
            if self._now is None:
                self.lost = True
                return
            has_moved = id(p) in self._values and not torch.equal(self._values[id(p)], p.detach())
            if p.grad is None or not bool(p.grad.any()) or has_moved:
                self._settle(p)
            if bool(gradient.any()):
                self.got.add(id(p))
                self._held.setdefault(id(p), set()).add(self._now)
                self._values[id(p)] = p.detach().clone()

        return came

    def _settle(self, p: nn.Parameter) -> None:
        places = self._held.pop(id(p), set())
        before = self._values.pop(id(p), None)
        has_moved = before is not None and not torch.equal(before, p.detach())
        for place in places:
            if has_moved:
                self.moved.setdefault(place, set()).add(id(p))
            else:
                times = self.cleared.setdefault(place, {})
                times[id(p)] = times.get(id(p), 0) + 1

    def _on_step(self, k: int) -> Callable[..., None]:
        def stepping(optimizer: Any, args: Any, kwargs: Any) -> None:
            self._is_aside = True
            self.stepping.setdefault(self.place - 1, set()).add(k)
            for p in (p for group in optimizer.param_groups for p in group["params"]):
                if p.grad is not None:  # a rate of zero moves nothing, on purpose
                    for place in self._held.get(id(p), ()):
                        self.moved.setdefault(place, set()).add(id(p))

        return stepping

    def _on_stepped(self, *rest: Any) -> None:
        self._is_aside = False


@dataclass(frozen=True, kw_only=True)
class Followed:
    """What became of the gradients of a body's losses.

    Attributes:
        moved: by the place of a loss in the body, the parameters that were stepped for it, by their place in the models.
        cleared: likewise, those whose gradient of it was cleared in each of two runs or more.
        idle: the first loss, or term of one, that reaches weights and moves none of them; None where there is none.
        held_twice: how many parameters two optimizers hold, and how many with a gradient none holds; None unless both occur.
    """

    moved: tuple[frozenset[int], ...]
    cleared: tuple[frozenset[int], ...]
    idle: IdleLoss | None
    held_twice: tuple[int, int] | None

    @property
    def num_separate(self) -> int:
        """How many losses move parameters that no other moves together with its own; 0 where one moves all that others do."""
        kinds = {each for each in self.moved if each}
        widest = [each for each in kinds if not any(each < other for other in kinds)]
        return len(widest) if len(widest) > 1 else 0


def follow_losses(model: Any, optimizer: Any, step: Callable[[Any, Any, Any], Any], batches: Iterable[Any]) -> Followed | None:
    """Take some steps on copies, and follow the gradient of each loss.

    Args:
        model: one, or a dict, tuple or list of several.
        optimizer: likewise.
        step: of (model, optimizer, batch): the loop's whole body, with several backward passes.
        batches: of the training loader.

    Returns:
        None where there is one loss, where the loop uses gradients in a way of its own (projects or averages
        them), and where the body reaches the models by itself.
    """
    if reaches(step, model, optimizer) or not optimizers(optimizer):
        return None
    twins, steppers = copied(model, optimizer)
    own = {id(p): p for part in modules(twins) for p in part.parameters()}
    watch = _Watch(list(own.values()), optimizers(steppers))
    guarded = put_back(*used_by(step)), variables_put_back(step)
    counts = set()
    with randomness_restored(), generators_restored(batches), guarded[0], guarded[1], torch.enable_grad():
        device = next((p.device for p in own.values()), torch.device("cpu"))
        for batch in islice(batches, _BODIES):
            on_device = to_device(batch, device)
            with watch:
                watch.begin()
                step(twins, steppers, on_device)
            counts.add(watch.place)
    watch.close()
    count = counts.pop() if len(counts) == 1 else 0
    if watch.lost or count < 2:
        return None
    places = {key: k for k, key in enumerate(own)}
    moved = tuple(frozenset(places[key] for key in watch.moved.get(place, ())) for place in range(count))
    cleared = tuple(
        frozenset(places[key] for key, times in watch.cleared.get(place, {}).items() if times >= _FEWEST)
        for place in range(count)
    )
    idle = _idle(watch, count, optimizers(steppers), _named_parameters(twins))
    held = [managed_parameters(stepper) & set(own) for stepper in optimizers(steppers)]
    twice, left = sum(sum(key in each for each in held) > 1 for key in own), len(watch.got - set().union(*held))
    return Followed(moved=moved, cleared=cleared, idle=idle, held_twice=(twice, left) if twice and left else None)


def _idle(watch: _Watch, count: int, steppers: list[torch.optim.Optimizer], names: Mapping[int, str]) -> IdleLoss | None:
    for place in range(count):
        moved, times = watch.moved.get(place, set()), watch.cleared.get(place, {})
        holders = sorted(watch.stepping.get(place, set()))
        if not holders:  # losses that are added up, one to look at, or one whose gradient is cleared before the step
            if (early := _cleared_early(watch, place, count, steppers, names)) is not None:
                return early
            continue
        term, reached, held = None, frozenset[int](), set().union(*(managed_parameters(steppers[k]) for k in holders))
        if not moved and times and min(times.values()) >= _FEWEST:
            reached = frozenset(times)
        else:
            runs, held = watch.terms[place], moved
            for k, reaches_too in enumerate(runs[0]) if len({len(terms) for terms in runs}) == 1 < len(runs[0]) else ():
                if all(run[k] and not run[k] & moved and all(times.get(p, 0) >= _FEWEST for p in run[k]) for run in runs):
                    term, reached = k + 1, reaches_too
                    break
        if reached:
            first_called = sorted(reached, key=lambda key: watch.called[place].get(key, 0))
            parts = _parts(first_called, [key for key in names if key in held], names)
            is_cut = term is None and bool(held & watch.of.get(place, set()))
            other = _exchanged(watch, place, count, steppers) if term is None else None
            exchanged = other + 1 if other is not None else None
            words = {"is_cut": is_cut and other is None, "exchanged": exchanged}
            return IdleLoss(place=place + 1, num_losses=count, term=term, reached=parts[0], held=parts[1], **words)
    return None


def _exchanged(watch: _Watch, place: int, count: int, steppers: list[torch.optim.Optimizer]) -> int | None:
    """The loss that changed optimizers with this one, by its place; None where none has.

    Each of the two gives a gradient to what the other's optimizer holds, and it is cleared.
    """

    def held(k: int) -> set[int]:
        return set().union(*(managed_parameters(steppers[j]) for j in watch.stepping.get(k, ())))

    reached, own = set(watch.cleared.get(place, {})), held(place)
    for other in range(count):
        cleared = {key for key, times in watch.cleared.get(other, {}).items() if times >= _FEWEST}
        gets = own & watch.got
        if other != place and reached <= held(other) and not own & held(other) and gets and gets <= cleared:
            return other
    return None


def _cleared_early(
    watch: _Watch, place: int, count: int, steppers: list[torch.optim.Optimizer], names: Mapping[int, str]
) -> IdleLoss | None:
    """A loss whose gradient is cleared between its backward pass and that of the next loss, which is stepped for.

    One that reaches a leaf that is no parameter, such as an image that an attack changes, is there for that leaf's gradient;
    one whose gradient is measured, for its norm.
    """
    times, runs = watch.cleared.get(place, {}), watch.terms[place]
    holders = watch.stepping.get(place + 1, set())
    held = set().union(*(managed_parameters(steppers[k]) for k in holders)) & set(times)
    if watch.moved.get(place) or not held or place in watch.read or min(times.values()) < _FEWEST:
        return None
    if not all(run and all(leaf in watch.own for term in run for leaf in term) for run in runs):
        return None
    parts = _parts(sorted(times, key=list(names).index), [], names)
    return IdleLoss(place=place + 1, num_losses=count, term=None, reached=parts[0], held=parts[0], before_step=True)


def _reached_by_terms(loss: Tensor) -> list[frozenset[int]]:
    """The leaves that each term of a sum reaches, in order; nothing where a part of the graph is hidden."""
    if loss.grad_fn is None:
        return []
    waiting, terms = [loss.grad_fn], []
    while waiting:
        node = waiting.pop()
        name, parents = name_of(node), parents_of(node)
        if name in ("AddBackward", "SubBackward") and len(parents) == 2:
            waiting += parents[::-1]
        elif name in ("AddBackward", "SubBackward", "MulBackward", "DivBackward", "NegBackward") and len(parents) == 1:
            waiting += parents
        else:
            terms.append(node)
    found = [_leaves(term) for term in terms]
    return [] if None in found else [leaves for leaves in found if leaves is not None]


def _leaves(root: Any) -> frozenset[int] | None:
    nodes = list(within([root], None, _MOST_NODES))
    if len(nodes) >= _MOST_NODES or any(word in type(node).__name__ for node in nodes for word in _OPAQUE):
        return None
    return frozenset(id(leaf) for node in nodes if (leaf := getattr(node, "variable", None)) is not None)


def _named_parameters(model: Any) -> dict[int, str]:
    """Parameters by their ids, with the names of the networks that hold them in front."""
    if isinstance(model, nn.Module):
        return {id(p): name for name, p in model.named_parameters()}
    return {id(p): f"{network}.{name}" for network, part in named_players(model) for name, p in part.named_parameters()}


def _parts(reached: Sequence[int], held: Sequence[int], names: Mapping[int, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The shortest names of parts that tell what is reached from what is held, each once, in their order."""
    deepest = max((names[key].count(".") for key in (*reached, *held)), default=0)
    shown: list[tuple[str, ...]] = []
    for depth in range(1, deepest + 2):
        shown = [tuple(dict.fromkeys(".".join(names[key].split(".")[:depth]) for key in keys)) for keys in (reached, held)]
        if not set(shown[0]) & set(shown[1]):
            break
    return shown[0], shown[1]
