"""Models that are to play against each other: what the losses of both want of the one's answers, and whom they move."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations, islice, permutations
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import to_device
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.graph import behind_views
from trainability.doctor.measure.left_behind import LeftBehind
from trainability.doctor.measure.nested import optimizers, players
from trainability.doctor.measure.nodes import call_of
from trainability.doctor.measure.pass_gradients import PassGradients
from trainability.doctor.measure.put_back import put_back, variables_put_back
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.uses import reaches, used_by

_STEPS, _FEWEST = 8, 5
_MOST_STEPS, _MOST_SECONDS = 32, 3.0  # of a generator that steps behind several steps of its critic
# Answers are spread over these in place of the critic's own: a loss that pulls to a target, as of least squares, wants the same
# as its opponent on one side of both targets, and the opposite between them.
_SPREAD, _CHANCES = (-3.0, 3.0), (0.02, 0.98)


_LINES = frozenset({"Addmm", "Mm", "Linear", "Convolution", "Mean", "Sum", "Bmm"})  # last functions of critics without bounds
_OPPOSED = 0.1  # share of the answers of which two losses want the opposite
_Look = tuple[int, int, Tensor, frozenset[int]]  # batch, step, the gradients of the answers, and which models have one


@dataclass(frozen=True)
class _Asked:
    """The gradient of a critic's answers to what a generator made.

    Attributes:
        critic: its place among the models.
        generator: likewise.
        slope: of the answers, in their order.
        rows: batch, and where the judged rows are in memory.
        is_attached: whether what the critic was given lets a gradient back to the generator.
        backward: number of the backward pass.
    """

    critic: int
    generator: int
    slope: Tensor
    rows: tuple[int, int]
    is_attached: bool
    backward: int


class Watch:
    """Gradients that answers of all sizes to another model's outputs get, by whose optimizer steps then.

    Attributes:
        judged: by critic and generator, those for which the critic's optimizer steps, and not the generator's.
        asked: likewise, those for which the generator's steps.
        moved: as `judged`, by an optimizer that holds the generator as well.
        both: likewise, of an optimizer that holds both.
        undone: likewise, for each step of an optimizer of the critic alone, whether its gradients are the sum of those of two
            losses that want opposite answers to the same outputs, one of which gives the generator a gradient, and the other
            none.
        shown_data: critics that were given what no model has made with a gradient.
        of_chances: pairs of a critic, whose answers are between 0 and 1, and a generator.
        handles: of its hooks.
    """

    def __init__(self, models: list[nn.Module], own_optimizers: list[torch.optim.Optimizer]) -> None:
        self.made: list[tuple[int, Tensor]] = []  # by which model; kept alive, so that an address is one tensor's
        self.pending: list[_Asked] = []
        self.left: list[_Asked] = []  # since the critic's optimizer stepped, whichever else has
        self.judged: dict[tuple[int, int], list[Tensor]] = {}
        self.asked: dict[tuple[int, int], list[Tensor]] = {}
        self.moved: dict[tuple[int, int], list[Tensor]] = {}
        self.both: dict[tuple[int, int], list[_Look]] = {}
        self.undone: dict[tuple[int, int], list[bool]] = {}
        self.reached: set[tuple[int, int]] = set()  # models that a backward pass gave a gradient
        self.shown_data: set[int] = set()
        self.of_chances: set[tuple[int, int]] = set()
        self.batch = self.step = 0
        self.models = models
        self.given = [PassGradients(model) for model in models]
        self.handles: list[Any] = [handle for each in self.given for handle in each.handles]
        owner = {id(p): k for k, model in enumerate(models) for p in model.parameters()}
        for k, model in enumerate(models):
            self.handles.append(model.register_forward_hook(LeftBehind(self._on_call(k))))
            self.handles += [p.register_hook(self._on_gradient(k)) for p in model.parameters() if p.requires_grad]
        for optimizer in own_optimizers:
            held = {owner.get(id(p)) for group in optimizer.param_groups for p in group["params"]}
            self.handles.append(optimizer.register_step_pre_hook(self._on_step(held)))

    def slopes_of_logits(self, pair: tuple[int, int], slopes: list[Tensor]) -> list[Tensor]:
        """Slopes of the answers of a pair, from the least answer to the largest, as slopes of what a sigmoid makes them of."""
        if pair not in self.of_chances:
            return slopes
        chances = [torch.linspace(*_CHANCES, len(slope), dtype=slope.dtype, device=slope.device) for slope in slopes]
        return [slope * p * (1 - p) for slope, p in zip(slopes, chances, strict=True)]

    @property
    def has_seen_enough(self) -> bool:
        """Whether each generator has stepped as often as it takes, and each critic."""
        return all(len(self.asked.get(pair, ())) >= _FEWEST for pair in self.judged)

    def _on_call(self, k: int) -> Callable[..., Tensor | None]:
        def seen(module: nn.Module, args: Any, output: Any) -> Tensor | None:
            given = args[0] if args and isinstance(args[0], Tensor) else None
            if not isinstance(output, Tensor):
                return None
            generator = next((j for j, made in self.made if given is not None and made.data_ptr() == given.data_ptr()), None)
            if given is not None and generator is None and not given.requires_grad:
                self.shown_data.add(k)
            self.made.append((k, output))
            if given is None or generator is None or generator == k:
                return None
            if not output.requires_grad or output.numel() != len(output):
                return None
            is_line = call_of(behind_views(output.grad_fn)) in _LINES if output.grad_fn is not None else False
            is_chance = not is_line and bool(((output > 0) & (output < 1)).all())
            if is_chance:
                self.of_chances.add((k, generator))
            spread = torch.linspace(
                *(_CHANCES if is_chance else _SPREAD), len(output), dtype=output.dtype, device=output.device
            )
            spread = spread.view_as(output)
            answers = output - output.detach() + spread
            place, is_attached = (self.batch, given.data_ptr()), given.requires_grad

            def asked(g: Tensor) -> None:
                pass_ = torch._C._current_graph_task_id()
                self.pending.append(_Asked(k, generator, g.detach().flatten(), place, is_attached, backward=pass_))
                self.left.append(self.pending[-1])

            answers.register_hook(asked)
            return answers

        return seen

    def _on_step(self, held: set[int | None]) -> Callable[..., None]:
        def stepped(optimizer: Any, args: Any, kwargs: Any) -> None:
            self.step += 1
            for (critic, generator), of_pair in _by_pair(self.left).items():
                if critic in held and generator not in held:
                    are_undone = any(self._are_undone(a, b) for a, b in combinations(of_pair, 2))
                    self.undone.setdefault((critic, generator), []).append(are_undone)
            self.left = [each for each in self.left if each.critic not in held]
            for k in (k for k in held if k is not None):
                self.given[k].clear()
            for critic, generator, slope in ((each.critic, each.generator, each.slope) for each in self.pending):
                if critic in held and generator in held:
                    moves = frozenset(k for k in (critic, generator) if self._has_gradient(k))
                    self.both.setdefault((critic, generator), []).append((self.batch, self.step, slope, moves))
                if critic in held and generator not in held:
                    self.judged.setdefault((critic, generator), []).append(slope)
                elif generator in held and critic not in held:
                    self.asked.setdefault((critic, generator), []).append(slope)
                elif critic in held and self._has_gradient(generator):
                    self.moved.setdefault((critic, generator), []).append(slope)
            self.pending.clear()

        return stepped

    def _are_undone(self, a: _Asked, b: _Asked) -> bool:
        """Whether the critic's gradients hold those of both losses, and these want the opposite of the same rows."""
        is_makers = [each.is_attached and (each.generator, each.backward) in self.reached for each in (a, b)]
        if a.rows != b.rows or is_makers[0] == is_makers[1] or not _are_opposite(a.slope, b.slope):
            return False
        return self.given[a.critic].hold(a.backward, b.backward)

    def _on_gradient(self, k: int) -> Callable[[Tensor], None]:
        return lambda g: self.reached.add((k, torch._C._current_graph_task_id()))

    def _has_gradient(self, k: int) -> bool:
        return any(p.grad is not None and bool(p.grad.any()) for p in self.models[k].parameters())


def same_aim(
    model: Any, optimizer: Any, step: Callable[[Any, Any, Any], Any], batches: Iterable[Any]
) -> tuple[int, int] | None:
    """Take some steps on copies, and compare what both losses want of the critic's answers to what the other model makes.

    Args:
        model: a dict, tuple or list of several, or one that holds them.
        optimizer: likewise.
        step: of (model, optimizer, batch): the loop's whole body.
        batches: of the training loader.

    Returns:
        The critic and the generator (places among the models), where the gradients of both losses have the same sign at all
        answers; None where they differ at some, or nothing can be compared.
    """
    watch = watched(model, optimizer, step, batches)
    if watch is None:
        return None
    for (critic, generator), slopes in watch.judged.items():
        pairs = _paired(slopes, watch.asked.get((critic, generator), ()))
        if len(pairs) < _FEWEST:
            continue
        of_judge, of_maker = (torch.cat(each) for each in zip(*pairs, strict=True))
        signs = set(torch.cat([of_judge, of_maker]).sign().unique().tolist()) - {0.0}
        if len(signs) == 1 and all(bool(a.any()) and bool(b.any()) for a, b in pairs):
            return critic, generator
        if len(signs) == 2 and bool((of_judge.sign() == of_maker.sign()).all()):  # both pull to one target
            return critic, generator
    return None


def moved_by_critic(
    model: Any, optimizer: Any, step: Callable[[Any, Any, Any], Any], batches: Iterable[Any]
) -> tuple[int, int] | None:
    """Ask whether a model is moved for its opponent's loss, and against that by an optimizer of its own.

    Args:
        model: a dict, tuple or list of several, or one that holds them.
        optimizer: likewise.
        step: of (model, optimizer, batch): the loop's whole body.
        batches: of the training loader.

    Returns:
        The critic and the generator (places among the models), where an optimizer that holds weights of both steps for the
        critic's loss, with a gradient for the generator, and another that holds the generator's alone steps for a loss that
        wants other answers of the critic. None elsewhere; without a run, where no two optimizers hold weights of one model.
    """
    owner = {id(p): k for k, part in enumerate(players(model)) for p in part.parameters()}
    held = [{owner.get(id(p)) for group in o.param_groups for p in group["params"]} for o in optimizers(optimizer)]
    if not any(len(one) > 1 and one & other for one, other in permutations(held, 2)):
        return None
    watch = watched(model, optimizer, step, batches)
    if watch is None:
        return None
    for (critic, generator), slopes in watch.moved.items():
        pairs = _paired(slopes, watch.asked.get((critic, generator), ()))
        if len(pairs) >= _FEWEST and not all(bool((a.sign() == b.sign()).all()) for a, b in pairs):
            return critic, generator
    return None


def moved_both_ways(
    model: Any, optimizer: Any, step: Callable[[Any, Any, Any], Any], batches: Iterable[Any]
) -> tuple[int, int] | None:
    """Ask whether one optimizer, which holds two models that play against each other, moves one for the losses of both.

    Args:
        model: a dict, tuple or list of several, or one that holds them.
        optimizer: one or several.
        step: of (model, optimizer, batch): the loop's whole body.
        batches: of the training loader.

    Returns:
        The critic and the generator (places among the models), where in each of five batches and more the optimizer steps for
        two losses that pull all of the critic's answers to what the generator makes to one value each, to different sides, and
        one of the models has a gradient in both. None elsewhere: labels pull answers to values of their own, a reversed
        gradient takes one step, and where only the model whose turn it is has a gradient, nothing is undone. Without a run,
        where no optimizer holds weights of two models.
    """
    owner = {id(p): k for k, part in enumerate(players(model)) for p in part.parameters()}
    held = [{owner.get(id(p)) for group in o.param_groups for p in group["params"]} for o in optimizers(optimizer)]
    if not any(len(one) > 1 for one in held):
        return None
    watch = watched(model, optimizer, step, batches)
    if watch is None:
        return None
    for (critic, generator), looks in watch.both.items():
        by_batch: dict[int, list[_Look]] = {}
        for look in looks:
            by_batch.setdefault(look[0], []).append(look)
        turns = [any(_undoes(a, b) for a, b in combinations(each, 2)) for each in by_batch.values()]
        if len(turns) >= _FEWEST and all(turns):
            return critic, generator
    return None


def _undoes(one: _Look, other: _Look) -> bool:
    """Whether two steps move a model for losses that want opposite answers, each the same of all."""
    (_, step, a, moved), (_, later, b, moved_too) = one, other
    return step != later and bool(moved & moved_too) and _are_opposite(a, b)


def _are_opposite(a: Tensor, b: Tensor) -> bool:
    """Whether two losses want opposite answers, each the same of all rows."""
    if a.shape != b.shape:
        return False
    for slope in (a, b):
        signs = slope.sign()[slope != 0]
        if len(signs) == 0 or int((signs[1:] != signs[:-1]).sum()) > 1:  # answers are given in their order
            return False
    return float((a.sign() * b.sign() < 0).float().mean()) > _OPPOSED


def _by_pair(asked: Iterable[_Asked]) -> dict[tuple[int, int], list[_Asked]]:
    pairs: dict[tuple[int, int], list[_Asked]] = {}
    for each in asked:
        pairs.setdefault((each.critic, each.generator), []).append(each)
    return pairs


def _paired(one: Iterable[Tensor], other: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return [(a, b) for a, b in zip(one, other, strict=False) if a.shape == b.shape]


def watched(
    model: Any,
    optimizer: Any,
    step: Callable[[Any, Any, Any], Any],
    batches: Iterable[Any],
    *,
    listen: Callable[[list[nn.Module], list[torch.optim.Optimizer]], list[Any]] | None = None,
) -> Watch | None:
    """Take some steps on copies.

    Args:
        model: a dict, tuple or list of several, or one that holds them.
        optimizer: likewise.
        step: of (model, optimizer, batch): the loop's whole body.
        batches: of the training loader.
        listen: adds hooks to the copies of models and optimizers, and returns them.

    Returns:
        None where there is one model, or the body reaches the models by itself.
    """
    if len(players(model)) < 2 or reaches(step, model, optimizer):
        return None
    twins, steppers = copied(model, optimizer)
    parts = players(twins)
    device = next((p.device for part in parts for p in part.parameters()), torch.device("cpu"))
    watch = Watch(parts, optimizers(steppers))
    watch.handles += listen(parts, optimizers(steppers)) if listen is not None else []
    guarded = put_back(*used_by(step)), variables_put_back(step)
    with randomness_restored(), generators_restored(batches), guarded[0], guarded[1], torch.enable_grad():
        began = time.monotonic()
        for watch.batch, batch in enumerate(islice(batches, _MOST_STEPS)):
            if watch.batch >= _STEPS and (watch.has_seen_enough or time.monotonic() - began > _MOST_SECONDS):
                break
            watch.made.clear()
            step(twins, steppers, to_device(batch, device))
    for handle in watch.handles:
        handle.remove()
    return watch
