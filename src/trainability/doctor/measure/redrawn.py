"""Targets that are random numbers of which the model is told nothing: noise, or a class, that a step draws twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import tensors
from trainability.doctor.measure.forward_pass import DISTANCES
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.randomness import randomness_restored, seed_all

_CLASSES = frozenset({"cross_entropy", "nll_loss"})
_DRAWS = frozenset({"randn", "randn_like", "rand", "rand_like", "normal", "randint", "randint_like", "uniform", "random"})
_UNIFORM = frozenset({"rand", "rand_like"})
_FORMS = frozenset({"to", "type_as", "view_as", "expand_as", "reshape_as"})
_DIFFERENCES = frozenset({"sub", "rsub", "subtract"})
_FEWEST = 8  # examples
_MOST_PAIRS, _MOST_DRAWS = 8, 6
_LARGE, _SHARE = 0.5, 0.3  # rms of what is drawn; its share of the target's mean square
_EXACT = 1e-3
_MOST_GIVEN, _MOST_RETURNED = 8, 64
_NOISED = 0.05  # share of the noise in what the model is given, in squares
_MOST_ALONE, _NOTHING = 0.95, 1e-3  # of the examples; share of the data in what the model is given, in squares
_VARIED, _LITTLE_DATA = 0.05, 0.05  # of the noise's weights among the examples; weight of the data, below which it is not asked

Forward = Callable[[Any, Any], Tensor]


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """An answer and what a loss holds it against."""

    answer: Tensor
    target: Tensor
    is_class: bool
    is_loss: bool  # and not a difference that a loss may be made of


@dataclass
class _Pass:
    """What one run of the step shows.

    Attributes:
        draws: random numbers that were drawn, in their order.
        uniform: places in `draws` of numbers that are uniform between 0 and 1.
        given: tensors of as many numbers as one of the draws that modules with parameters were given, a few.
        sources: by place in `given`, ids of the batch's tensors from whose numbers it was computed, however little is left.
        told: what went into modules with parameters, as sums.
        returned: that modules with parameters returned, in the size of one of the draws.
        pairs: of answers and targets.
        loss: with its graph.
        has_generator: whether some numbers came from a generator of the program's own, which is put back.
    """

    draws: list[Tensor] = field(default_factory=list)
    uniform: set[int] = field(default_factory=set)
    given: list[Tensor] = field(default_factory=list)
    sources: dict[int, frozenset[int]] = field(default_factory=dict)
    told: list[float] = field(default_factory=list)
    returned: list[Tensor] = field(default_factory=list)
    pairs: list[_Pair] = field(default_factory=list)
    loss: Tensor | None = None
    has_generator: bool = False


class _Watch(TorchFunctionMode):
    """Notes random draws and what is held against what; hands on other numbers in the place of one draw."""

    def __init__(self, seen: _Pass, replaced: int | None, batch: Any) -> None:
        super().__init__()
        self._seen, self._replaced = seen, replaced
        self.generators: dict[int, tuple[torch.Generator, Tensor]] = {}
        self.sources = {id(t): (t, frozenset({id(t)})) for _, t in tensors(batch)}

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").strip("_")
        if isinstance(generator := kwargs.get("generator"), torch.Generator):
            self.generators.setdefault(id(generator), (generator, generator.get_state()))
        result = func(*args, **kwargs)
        if name in _DRAWS and isinstance(result, Tensor) and result.dim() > 0:
            if name in _UNIFORM or (name == "uniform" and len(args) < 2 and not {"from", "to"} & kwargs.keys()):
                self._seen.uniform.add(len(self._seen.draws))
            return self._drawn(result)
        # What takes its form alone from another tensor has none of its numbers.
        read = args[:1] if name in _FORMS else () if name.endswith("_like") or name.startswith("new_") else (args, kwargs)
        found = [self.sources[id(t)][1] for _, t in tensors(list(read)) if id(t) in self.sources]
        if found:
            self.sources |= {id(t): (t, frozenset().union(*found)) for _, t in tensors(result)}
        if name in DISTANCES or name in _CLASSES or name in _DIFFERENCES:
            self._held(name, [*args, *kwargs.values()])
        return result

    def _drawn(self, values: Tensor) -> Tensor:
        place = len(self._seen.draws)
        if place == self._replaced:
            order = torch.randperm(values.numel(), generator=torch.Generator().manual_seed(1)).to(values.device)
            with torch.no_grad():
                other = values.flatten()[order].reshape(values.shape)
                values = values.copy_(other) if not values.requires_grad else values
        self._seen.draws.append(values.detach().clone())
        return values

    def _held(self, name: str, given: list[Any]) -> None:
        found = [x for x in given if isinstance(x, Tensor)][:2]
        if len(found) < 2 or not self._seen.told or len(self._seen.pairs) >= _MOST_PAIRS:
            return
        answer, target = found if found[0].requires_grad else found[::-1]
        is_class = name in _CLASSES
        fits = target.dim() == 1 and len(answer) == len(target) if is_class else answer.shape == target.shape
        if answer.requires_grad and not target.requires_grad and fits and len(target) >= _FEWEST and answer.dim() > 0:
            target = target.detach().clone()
            self._seen.pairs.append(_Pair(answer=answer, target=target, is_class=is_class, is_loss=name not in _DIFFERENCES))


def redrawn(model: nn.Module, batch: Any, forward: Forward) -> tuple[str, float] | None:
    """Draw each of a step's random numbers anew, and look at what changes.

    Args:
        model: runs as it is; the caller puts modes, buffers and random state back.
        batch: what it is asked.
        forward: of (model, batch), the loss.

    Returns:
        What the loss wants, and which share of it, in squares, is drawn and in nothing that a module with parameters is given,
        three tenths and more: "noise", "class" where the target has nothing of the batch, "mixed" where the batch's own values
        are taken from noise, or noise from them. "uniform", with its mean, where the model is given the noise of a diffusion,
        uniform between 0 and 1, and asked for it; "alone", with the share of the data at which 95 % of the examples are below,
        where it is given the noise that it is asked for, and next to nothing of the data. "noised" where what it returns is
        held against its own input, to which noise was added, with the share of the noise in it, a twentieth or more; "jittered"
        where that noise is not uniform and has one weight for all examples, as some add to what an autoencoder is shown. None
        where there is no such target; where noise is added to a target as it is to the input, nothing of which the model is
        told in Noise2Noise, either; and where the step does not repeat itself.
    """
    first = watched_pass(model, batch, forward)
    if not first.draws or not first.pairs or first.loss is None:
        return None
    again = watched_pass(model, batch, forward)
    sizes = {pair.target.numel() for pair in first.pairs}
    places = [place for place, draw in enumerate(first.draws) if draw.numel() in sizes]
    if not places or len(places) > _MOST_DRAWS or not _are_same(first, again) or not _targets_equal(first, again):
        return None
    others = {place: watched_pass(model, batch, forward, replaced=place) for place in places}
    hidden = {place: run for place, run in others.items() if _are_same(first, run)}
    told = [run for place, run in others.items() if place not in hidden]
    for place, run in hidden.items():
        for number, pair in enumerate(first.pairs):
            if any(number >= len(x.pairs) or not torch.equal(x.pairs[number].target, pair.target) for x in told):
                continue  # noise that the model is told of is wanted, too
            kept = _held_in(pair, run.pairs[number], first.draws[place], run.draws[place])
            if kept is None or not is_wanted(pair, first.loss):
                continue
            slope, share = kept
            kind = _kind(model, batch, forward, number, pair, slope, mixes=bool(told))
            if kind is not None:
                return kind, share
    for place in sorted(others.keys() - hidden.keys()):
        if _is_target(first, place):
            asked = _asked_noise(model, batch, forward, first, others[place], place)
            if asked is not None:
                return asked
        found = _asked_input(model, batch, forward, first, others[place], place)
        if found is not None:
            return found
    return None


def _asked_input(
    model: nn.Module, batch: Any, forward: Forward, first: _Pass, other: _Pass, place: int
) -> tuple[str, float] | None:
    """Whether what a module returns is held against its very input, a mixture of the batch's data and noise."""
    draw, loss = first.draws[place], first.loss
    given = [t for t in first.given if t.numel() == draw.numel()]
    asked = [pair for pair in first.pairs if any(is_one(pair.answer, t) for t in first.returned) and not pair.is_class]
    own = [t for t in given if any(_equals(pair.target, t) for pair in asked if loss is not None and is_wanted(pair, loss))]
    if not own or not draw.is_floating_point():
        return None
    for number, noise, data, _, is_source in _weights_of_both(model, batch, forward, first, other, place):
        if not is_source or data is None or not bool(data.any()) or not any(first.given[number] is t for t in own):
            continue
        rows = noise[:, None] * draw.reshape(len(noise), -1).double()
        share = float(rows.square().mean()) / max(float(first.given[number].double().square().mean()), 1e-30)
        sizes = noise.abs()
        is_mixed = float(sizes.amax() - sizes.amin()) >= _VARIED
        # Uniform noise of one weight dequantises: what is then modelled are the numbers with the noise.
        if share >= _NOISED and (is_mixed or place not in first.uniform):
            return "noised" if is_mixed else "jittered", min(share, 1.0)
    return None


def is_one(answer: Tensor, returned: Tensor) -> bool:
    """Whether an answer is all of what was returned, in whatever shape."""
    return answer.data_ptr() == returned.data_ptr() and answer.numel() == returned.numel()


def _equals(target: Tensor, given: Tensor) -> bool:
    return target.numel() == given.numel() and torch.equal(target.reshape(-1), given.reshape(-1).to(target))


def _asked_noise(
    model: nn.Module, batch: Any, forward: Forward, first: _Pass, other: _Pass, place: int
) -> tuple[str, float] | None:
    """What is wrong with noise that the model is given and asked for: "alone" or "uniform", as `redrawn` says; or None."""
    alone = []
    for _, noise, data, size, is_source in _weights_of_both(model, batch, forward, first, other, place):
        if data is None:  # another function of the data, which may be all of them
            alone.append(1.0)
            continue
        if place in first.uniform and _keeps_variance(noise, data):
            return "uniform", float(first.draws[place].mean())
        of_noise = noise.square() * float(first.draws[place].double().square().mean())
        shares = data.square() * size / (data.square() * size + of_noise).clamp(min=1e-30)
        if is_source:
            alone.append(float(shares.quantile(_MOST_ALONE)))
    # The largest share counts: another part may be given the data, as an encoder that gives back what a generator was given.
    return ("alone", max(alone)) if alone and max(alone) < _NOTHING else None


def _is_target(first: _Pass, place: int) -> bool:
    """Whether the loss wants the numbers of a draw as they are."""
    draw, loss = first.draws[place], first.loss
    wanted = [pair for pair in first.pairs if pair.target.numel() == draw.numel() and not pair.is_class]
    same = [pair for pair in wanted if torch.equal(pair.target.reshape(-1), draw.reshape(-1).to(pair.target))]
    return loss is not None and any(is_wanted(pair, loss) for pair in same)


def _weights_of_both(
    model: nn.Module, batch: Any, forward: Forward, first: _Pass, other: _Pass, place: int
) -> Iterator[tuple[int, Tensor, Tensor | None, float, bool]]:
    """The weights, one for each example, that noise and a tensor of the batch have in what modules are given.

    Yields:
        For each tensor that a module is given and each of the batch, of which both have the noise's size: the former's place;
        the weights of the noise; the weights of the batch's tensor, None if it goes in as another function; its mean square;
        and whether the input is computed from its numbers at all. Weights are 0 where nothing has changed.
    """
    draw, drawn = first.draws[place], other.draws[place]
    data = [t for _, t in tensors(batch) if t.is_floating_point() and t.numel() == draw.numel() and t.dim() > 0]
    moved = {id(t): _moved(t) for t in data}
    runs = {id(t): watched_pass(model, exchanged(batch, t, moved[id(t)]), forward) for t in data}
    for number, (before, after) in enumerate(zip(first.given, other.given, strict=False)):
        if before.shape != after.shape or before.numel() != draw.numel():
            continue
        noise = weight(after - before, (drawn - draw).reshape(before.shape), before)
        if noise is None:
            continue
        for t in data:
            seen = runs[id(t)]
            if number < len(seen.given) and seen.given[number].shape == before.shape:
                slope = weight(seen.given[number] - before, (moved[id(t)] - t).reshape(before.shape), before)
                yield number, noise, slope, float(t.double().square().mean()), id(t) in first.sources.get(number, ())


def weight(change: Tensor, by: Tensor, of: Tensor) -> Tensor | None:
    """As `_slope`, up to the rounding of what has changed, and 0 for each example where nothing has."""
    if not bool(change.any()):
        return torch.zeros(len(change), dtype=torch.double, device=change.device)
    return _slope(change, by, rounding=float(of.double().norm()) * 4 * torch.finfo(of.dtype).eps)


def _keeps_variance(noise: Tensor, data: Tensor) -> bool:
    """Whether data and noise are mixed as in a diffusion: the weights have a * a + b * b = 1, up to one scale of all data.

    Those of a flow add up to 1, and noise that is to be removed has data of weight 1: both may be of any distribution.
    """
    if float(noise.amax() - noise.amin()) < _VARIED or bool(noise.square().max() > 1 + _EXACT):
        return False
    is_clear = noise.square() < 1 - _LITTLE_DATA
    if int(is_clear.sum()) < _FEWEST // 2:
        return False
    scales = (data / (1 - noise.square()).clamp(min=1e-6).sqrt())[is_clear]
    weights = noise[is_clear]
    return float(weights.amax() - weights.amin()) >= _VARIED and float(scales.std()) <= _EXACT * float(scales.mean().abs())


def _moved(t: Tensor) -> Tensor:
    return t * 0.5 + 0.25 * t.detach().flatten().roll(1).reshape(t.shape) + 0.1


def watched_pass(
    model: nn.Module, batch: Any, forward: Forward, *, replaced: int | None = None, seed: int = 0, size: int = 0
) -> _Pass:
    """Run a step, and note what it draws, what modules are given and return, and what the loss holds against what.

    Args:
        model: runs as it is.
        batch: what it is asked.
        forward: of (model, batch), the loss.
        replaced: place among the draws of one whose numbers are put in another order.
        seed: of every global generator.
        size: numbers of further tensors that modules may be given, beside those as large as a draw.
    """
    seen = _Pass()
    watch = _Watch(seen, replaced, batch)

    def given(module: nn.Module, args: Any, kwargs: Any) -> None:
        found = [t for _, t in tensors([args, kwargs])]
        sizes = {draw.numel() for draw in seen.draws} | {size}
        alike = [t for t in found if t.is_floating_point() and t.numel() in sizes and not t.requires_grad]
        for t in alike[: _MOST_GIVEN - len(seen.given)]:
            if id(t) in watch.sources:
                seen.sources[len(seen.given)] = watch.sources[id(t)][1]
            seen.given.append(t.detach().clone())
        seen.told.extend(float((t.detach().double() * _weights(t)).sum()) for t in found if not t.is_complex())

    def left(module: nn.Module, args: Any, output: Any) -> None:
        sizes = {draw.numel() for draw in seen.draws} | {size}
        if isinstance(output, Tensor) and output.numel() in sizes and len(seen.returned) < _MOST_RETURNED:
            seen.returned.append(output)

    trained = [module for module in model.modules() if any(True for _ in module.parameters())]
    # A module that holds all of it may draw what it wants of its parts by itself.
    handles = [module.register_forward_pre_hook(given, with_kwargs=True) for module in trained]
    handles += [module.register_forward_hook(left) for module in trained]
    try:
        with torch.enable_grad(), randomness_restored(), watch:
            seed_all(seed)
            seen.loss = forward(model, batch).sum()
    finally:
        for handle in handles:
            handle.remove()
        for generator, state in watch.generators.values():
            generator.set_state(state)
    seen.has_generator = bool(watch.generators)
    return seen


def _weights(tensor: Tensor) -> Tensor:
    """Numbers that make a sum go by the order of what is summed."""
    return (torch.arange(tensor.numel(), device=tensor.device, dtype=torch.double).reshape(tensor.shape) * 0.7).cos() + 2


def _are_same(one: _Pass, other: _Pass) -> bool:
    """Whether modules are told the same, and answer it, in both."""
    if one.told != other.told or len(one.pairs) != len(other.pairs):
        return False
    return all(torch.equal(a.answer, b.answer) for a, b in zip(one.pairs, other.pairs, strict=True))


def _targets_equal(one: _Pass, other: _Pass) -> bool:
    return all(torch.equal(a.target, b.target) for a, b in zip(one.pairs, other.pairs, strict=True))


def _held_in(pair: _Pair, other: _Pair, draw: Tensor, drawn: Tensor) -> tuple[Tensor, float] | None:
    """How many times an example's target holds what was drawn for it, and the share of the target that this is."""
    if draw.numel() != pair.target.numel() or torch.equal(pair.target, other.target):
        return None
    if pair.is_class:
        are_drawn = torch.equal(pair.target, draw.reshape(-1).to(pair.target.dtype)) and len(pair.target.unique()) > 1
        return (torch.ones(len(draw)), 1.0) if are_drawn and not draw.is_floating_point() else None
    if not draw.is_floating_point():
        return None
    slope = _slope(other.target - pair.target, (drawn - draw).reshape(pair.target.shape))
    if slope is None:
        return None
    rows = slope[:, None].double() * draw.reshape(len(slope), -1).double()
    size = float(rows.square().mean())
    share = size / max(float(pair.target.double().square().mean()), 1e-30)
    return (slope, min(share, 1.0)) if size >= _LARGE**2 and share >= _SHARE else None


def _slope(change: Tensor, by: Tensor, *, rounding: float = 0.0) -> Tensor | None:
    """The number for each example, of which the change is that many times the other; one for all of single numbers."""
    change, by = change.reshape(len(change), -1).double(), by.reshape(len(by), -1).double()
    dims = (0, 1) if change.shape[1] == 1 else (1,)
    slope = ((change * by).sum(dim=dims, keepdim=True) / by.square().sum(dim=dims, keepdim=True).clamp(min=1e-30)).expand(
        len(change), 1
    )
    exact = float((change - slope * by).norm()) <= _EXACT * float(change.norm()) + rounding
    return slope[:, 0] if exact and bool(change.any()) else None


def is_wanted(pair: _Pair, loss: Tensor) -> bool:
    """Whether the loss pulls each answer to its target, as an error does that is squared or absolute."""
    (pull,) = torch.autograd.grad(loss, [pair.answer], allow_unused=True, retain_graph=True)
    if pull is None or not bool(pull.any()):
        return False
    if pair.is_loss:
        return True
    gap = (pair.answer.detach() - pair.target).reshape(len(pull), -1).double()
    pull = pull.reshape(len(pull), -1).double()
    squared, absolute = _slope(pull, gap), _slope(pull, gap.sign())
    return any(found is not None and bool((found >= 0).all()) for found in (squared, absolute))


def _kind(
    model: nn.Module, batch: Any, forward: Forward, number: int, pair: _Pair, slope: Tensor, *, mixes: bool
) -> str | None:
    """What the target has of the batch beside the draw."""
    own = [t for _, t in tensors(batch) if t.dim() > 0 and t.is_floating_point()]
    moved = {id(t): _moved(t) for t in own}
    for t in own:
        batch = exchanged(batch, t, moved[id(t)])
    run = watched_pass(model, batch, forward)
    if number >= len(run.pairs) or run.pairs[number].target.shape != pair.target.shape:
        return None
    change = run.pairs[number].target - pair.target
    if pair.is_class or not bool(change.any()):
        return None if bool(change.any()) else "class" if pair.is_class else "noise"
    for t in own:
        if mixes and t.numel() == pair.target.numel():
            of_data = _slope(change, (moved[id(t)] - t).reshape(pair.target.shape))
            if of_data is not None and bool((of_data * slope < 0).all()):
                return "mixed"
    return None
