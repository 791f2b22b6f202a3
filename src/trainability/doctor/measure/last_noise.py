"""How much of the data the last step of a diffusion still shows, where a sampler starts from noise alone."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import tensors, to_device
from trainability.doctor.measure.randomness import generators_restored, randomness_restored, seed_all
from trainability.doctor.readings import LastNoise

_FEWEST_ROWS, _FEWEST_TIMES, _FEWEST_NUMBERS = 8, 6, 64
_PASSES, _ROWS, _NUMBERS, _SECONDS, _BATCHES = 120, 1500, 40_000, 4.0, 6
_COLUMNS = 1024  # of an example that are read
_BINS, _EDGE = 20, 0.05
_END_ROWS, _END_NUMBERS = 16, 2048
_REPEATED = 4  # rows for each time, where times are not integers
_CLEAR, _CERTAIN = 0.15, 8.0  # variance of the noise at the first times; weight of the data there, in standard errors
_EVEN, _RISES, _LOOSE = 0.05, 0.03, 0.1
_NOISY = 0.2  # variance, above which the noise is looked at; half of the largest, where that is less
_FEWEST_FAINT = 20  # times, where no noise is as large
_KEPT, _SHARE = 0.1, 0.05

Forward = Callable[[Any, Any], Tensor]


class _Called(BaseException):
    """The module has been called: what follows is not needed."""


class _Generators(TorchFunctionMode):
    """Puts back the generators that a step holds by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[int, tuple[torch.Generator, Tensor]] = {}

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if isinstance(generator := (kwargs or {}).get("generator"), torch.Generator):
            self.found.setdefault(id(generator), (generator, generator.get_state()))
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True, kw_only=True)
class _Call:
    """What a module is given: an example's noisy numbers, its times, and what the batch holds of that size."""

    given: Tensor
    times: list[Tensor]
    data: dict[str, Tensor]
    size: int  # of the noisy numbers, before some columns were left out
    is_read: bool  # the noisy numbers are the batch's own


@dataclass
class _Rows:
    """Rows of many calls: of one place for the time, and one tensor of the batch."""

    given: list[Tensor] = field(default_factory=list)
    data: list[Tensor] = field(default_factory=list)
    times: list[Tensor] = field(default_factory=list)
    example: list[Tensor] = field(default_factory=list)
    turn: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """given = weight * data + noise, with standard errors."""

    weight: float
    noise: float
    weight_error: float
    noise_error: float
    rest: Tensor

    @property
    def error(self) -> float:
        """Of the sum of squares."""
        return ((2 * self.weight * self.weight_error) ** 2 + self.noise_error**2) ** 0.5


def last_noise(model: nn.Module, batch: Any, forward: Forward, batches: Iterable[Any]) -> LastNoise | None:
    """Regress what a model is given at the last time steps on the batch's data.

    Args:
        model: runs as it is.
        batch: of any structure.
        forward: of (model, batch), the loss.
        batches: the training loader.

    Returns:
        What is left of the data at the noisiest end, where the model is called with rows a * x + b * noise and a time for
        each, the noise is normal and drawn anew, a * a + b * b = 1 at all times, and the model answers in the data's shape;
        None of anything else, and where a * a at that end may be 0.1 or less.
    """
    if not any(len(t) >= _FEWEST_ROWS for _, t in tensors(batch) if t.dim() > 0 and not t.is_complex()):
        return None
    generators = _Generators()
    try:
        with torch.enable_grad(), randomness_restored(), generators_restored(batches), generators:
            module, first = _first_call(model, batch, forward)
            if module is None or first is None:
                return None
            again = _call_of(module, model, batch, forward, seed=1)
            if again is None or not _is_redrawn(first, again):
                return None
            rows = _collected(module, model, _turns(batch, batches, model, is_read=first.is_read), forward)
    finally:
        for generator, state in generators.found.values():
            generator.set_state(state)
    found = (_judged(each, alone=len({name for name, _ in rows}) == 1) for each in rows.values())
    return next((each for each in found if each is not None), None)


def _first_call(model: nn.Module, batch: Any, forward: Forward) -> tuple[nn.Module | None, _Call | None]:
    """The first module with parameters that is called so, and answers in the data's shape."""
    found: list[tuple[nn.Module, _Call]] = []

    def called(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        call = _read(batch, args, kwargs) if not found else None
        if call is not None and any(t.numel() in (call.size, 2 * call.size) for _, t in tensors(output)):
            found.append((module, call))

    trained = [module for module in model.modules() if any(True for _ in module.parameters())]
    handles = [module.register_forward_hook(called, with_kwargs=True) for module in trained]
    try:
        seed_all(0)
        forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else (None, None)


def _call_of(module: nn.Module, model: nn.Module, batch: Any, forward: Forward, *, seed: int) -> _Call | None:
    """How a step calls the module; the step ends there."""
    found: list[_Call] = []

    def called(module: nn.Module, args: Any, kwargs: Any) -> None:
        if (call := _read(batch, args, kwargs)) is not None:
            found.append(call)
            raise _Called

    handle = module.register_forward_pre_hook(called, with_kwargs=True)
    try:
        seed_all(seed)
        forward(model, batch)
    except _Called:
        pass
    finally:
        handle.remove()
    return found[0] if found else None


def _read(batch: Any, args: Any, kwargs: Any) -> _Call | None:
    """What a module is given beside what the batch holds; None where it is given no noisy data with times."""
    held = {path: t for path, t in tensors(batch) if t.dim() > 0 and _is_real(t) and len(t) >= _FEWEST_ROWS}
    taken = [t for _, t in tensors([args, kwargs]) if t.dim() > 0 and _is_real(t)]
    for given, times in _with_times(taken):
        alike = {path: t for path, t in held.items() if t.numel() == given.numel() and len(t) == len(given)}
        data = {path: t for path, t in alike.items() if not _is_same(t, given)}
        if data:
            return _Call(
                given=_flat(given),
                times=[t.detach().reshape(-1).double().cpu() for t in times],
                data={path: _flat(t) for path, t in data.items()},
                size=given.numel(),
                is_read=len(data) < len(alike),
            )
    return None


def _with_times(taken: list[Tensor]) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """What may be noisy data, with what may be their times: other tensors, or the first or last column of a table."""
    for given in taken:
        if not given.is_floating_point():
            continue
        if times := [t for t in taken if t is not given and t.numel() == len(given)]:
            yield given, times
        if given.dim() == 2 and given.shape[1] > 1:
            yield given[:, :-1], [given[:, -1]]
            yield given[:, 1:], [given[:, 0]]


def _is_real(t: Tensor) -> bool:
    return t.layout == torch.strided and not t.is_complex() and t.dtype != torch.bool


def _is_same(t: Tensor, other: Tensor) -> bool:
    return torch.equal(t.detach().reshape(-1).double().cpu(), other.detach().reshape(-1).double().cpu())


def _flat(t: Tensor) -> Tensor:
    """One row for each example, of some of its numbers."""
    rows = t.detach().reshape(len(t), -1)
    return rows[:, :: max(1, rows.shape[1] // _COLUMNS)].cpu().double()


def _is_redrawn(first: _Call, again: _Call) -> bool:
    """Whether other random numbers give the same batch other times and noise; those of a data set are drawn as it is read."""
    if first.is_read:
        return True
    if first.given.shape != again.given.shape or len(first.times) != len(again.times) or torch.equal(first.given, again.given):
        return False
    return any(not torch.equal(a, b) for a, b in zip(first.times, again.times, strict=True))


def _turns(batch: Any, batches: Iterable[Any], model: nn.Module, *, is_read: bool) -> Iterator[tuple[int, Any]]:
    """Batches with their number, the first ones over and over; read anew where the data set draws the noise."""
    device = next(model.parameters()).device
    if is_read:
        for number in range(_PASSES):
            seed_all(number + 2)
            for place, other in enumerate(batches):
                yield number * _PASSES + place, to_device(other, device)
        return
    kept = [to_device(other, device) for other in itertools.islice(batches, _BATCHES)] or [batch]
    yield from itertools.cycle(enumerate(kept))


def _collected(
    module: nn.Module, model: nn.Module, turns: Iterator[tuple[int, Any]], forward: Forward
) -> dict[tuple[str, int], _Rows]:
    """Rows of some passes, by the batch's tensor and the place of the times."""
    rows: dict[tuple[str, int], _Rows] = {}
    began, count = time.perf_counter(), 0
    for turn, (number, each) in enumerate(itertools.islice(turns, _PASSES)):
        call = _call_of(module, model, each, forward, seed=turn + 2)
        if call is None:
            continue
        size = len(call.given)
        for (path, data), place in itertools.product(call.data.items(), range(len(call.times))):
            held = rows.setdefault((path, place), _Rows())
            held.given.append(call.given)
            held.data.append(data)
            held.times.append(call.times[place])
            held.example.append(number * 1_000_000 + torch.arange(size))
            held.turn.append(torch.full((size,), turn))
        count += size
        if (count >= _ROWS and count * call.given.shape[1] >= _NUMBERS) or time.perf_counter() - began > _SECONDS:
            break
    return rows


def _judged(rows: _Rows, *, alone: bool) -> LastNoise | None:
    """What is left of the data at the noisier end of the times."""
    if len({each.shape[1] for each in (*rows.given, *rows.data)}) != 1:
        return None
    given, data, times = torch.cat(rows.given), torch.cat(rows.data), torch.cat(rows.times)
    steps = times.unique()
    if not bool(given.isfinite().all() and data.isfinite().all() and times.isfinite().all()) or len(steps) < _FEWEST_TIMES:
        return None
    if not torch.equal(times, times.round()) and len(steps) > len(times) / _REPEATED:
        return None  # times that go on and on, and no steps
    if not alone and _is_normal((data - data.mean()) / data.std(), 0.3):
        return None  # it may be the noise
    ends = [_end(times, steps, given.shape[1]), _end(times, steps.flip(0), given.shape[1])]
    if any(int(end.sum()) < _END_ROWS or int(end.sum()) * given.shape[1] < _FEWEST_NUMBERS for end in ends):
        return None
    lines = [_line(given[end], data[end]) for end in ends]
    clean = 0 if lines[0][2] < lines[1][2] else 1
    slope, shift, noise, error = lines[clean]
    if noise > _CLEAR or slope < _CERTAIN * error:
        return None
    clear = (slope * data + shift) / (1 - noise) ** 0.5
    parts = _parts(times, is_reversed=clean == 1)
    parts = [part for part in parts if int(part.sum()) * given.shape[1] >= 2 * _FEWEST_NUMBERS]
    fits = [_fit(given[part], clear[part]) for part in parts]
    last = _fit(given[ends[1 - clean]], clear[ends[1 - clean]])
    if len(fits) < _FEWEST_TIMES - 1 or not _is_diffusion([*fits, last]):
        return None
    noisy = [(part, fit.rest) for part, fit in zip(parts, fits, strict=True) if fit.noise > min(_NOISY, last.noise / 2)]
    if last.noise <= _NOISY:
        chosen = torch.stack([part for part, _ in noisy]).any(0) if noisy else ends[1 - clean]
        if len(steps) < _FEWEST_FAINT or not _makes_room(_fit(given[chosen], clear[chosen])):
            return None
    groups = [torch.cat(ids) for ids in (rows.example, rows.turn)]
    if not noisy or not _is_drawn(
        torch.cat([rest for _, rest in noisy]), [torch.cat([ids[part] for part, _ in noisy]) for ids in groups]
    ):
        return None
    kept, power = 1 - last.noise, last.weight**2 * float(clear[ends[1 - clean]].square().mean())
    least, share = kept - 2 * last.noise_error, power / (power + last.noise)
    if min(least, last.weight**2 + 4 * last.weight * last.weight_error) <= _KEPT or share < _SHARE:
        return None
    return LastNoise(
        kept=kept,
        least=least,
        share=share,
        step=float(steps[0] if clean == 1 else steps[-1]),
        steps=len(steps),
        rows=int(ends[1 - clean].sum()),
    )


def _end(times: Tensor, steps: Tensor, width: int) -> Tensor:
    """Which rows are of the first of the steps: as few steps as give enough numbers, and at most a twentieth."""
    edge = float((steps[-1] - steps[0]).abs()) * _EDGE
    chosen = times == steps[0]
    for step in steps[1:]:
        count = int(chosen.sum())
        if (count >= 2 * _END_ROWS and count * width >= _END_NUMBERS) or float((step - steps[0]).abs()) > edge:
            break
        chosen = chosen | (times == step)
    return chosen


def _line(given: Tensor, data: Tensor) -> tuple[float, float, float, float]:
    """Slope and shift of what is given over the data, the mean square around it, and the slope's standard error."""
    centred = data - data.mean()
    spread = float(centred.square().sum())
    if spread <= 0:
        return 0.0, 0.0, float("inf"), float("inf")
    slope = float((given * centred).sum()) / spread
    shift = float(given.mean() - slope * data.mean())
    noise = float((given - slope * data - shift).square().mean())
    return slope, shift, noise, (noise / spread) ** 0.5


def _fit(given: Tensor, clear: Tensor) -> _Fit:
    power = float(clear.square().sum().clamp(min=1e-30))
    weight = float((given * clear).sum()) / power
    rest = given - weight * clear
    noise = float(rest.square().mean())
    return _Fit(
        weight=weight,
        noise=noise,
        weight_error=(noise / power) ** 0.5,
        noise_error=noise * (2 / rest.numel()) ** 0.5,
        rest=rest / max(noise, 1e-30) ** 0.5,
    )


def _parts(times: Tensor, *, is_reversed: bool) -> list[Tensor]:
    """Which rows are of each of twenty parts of the times, the clean ones first."""
    low, high = times.min(), times.max()
    places = ((times - low) / (high - low) * _BINS).floor().clamp(max=_BINS - 1)
    order = range(_BINS - 1, -1, -1) if is_reversed else range(_BINS)
    return [part for place in order if bool((part := places == place).any())]


def _is_diffusion(fits: list[_Fit]) -> bool:
    """Whether the weights of data and noise have a * a + b * b = 1 at all times, and that of the data falls."""
    if sum(fit.error for fit in fits) / len(fits) > _LOOSE:
        return False
    if any(abs(fit.weight**2 + fit.noise - 1) > _EVEN + 4 * fit.error for fit in fits):
        return False
    for fit, later in itertools.pairwise(fits):
        if later.weight - fit.weight > _RISES + 4 * (fit.weight_error**2 + later.weight_error**2) ** 0.5:
            return False
    first, last = fits[0], fits[-1]
    falls = first.weight - last.weight > 4 * (first.weight_error + last.weight_error)
    is_faint = last.noise <= _NOISY
    return falls or (is_faint and last.noise - first.noise > 4 * (first.noise_error + last.noise_error))


def _makes_room(fit: _Fit) -> bool:
    """Whether the data have less weight where there is little noise, so that a * a + b * b = 1, and not a = 1."""
    missing = abs(fit.weight**2 + fit.noise - 1)
    return 1 - fit.weight > 4 * fit.weight_error and missing < fit.noise / 2 - 2 * fit.error


def _is_drawn(rest: Tensor, groups: list[Tensor]) -> bool:
    """Whether what is left has the numbers of a normal distribution, which are alike in no two rows of a group."""
    return _is_normal(rest, 0.1) and all(_likeness(rest, ids) for ids in groups)


def _is_normal(z: Tensor, near: float) -> bool:
    """Whether numbers of variance 1 are normal, and unrelated to those beside them."""
    count = z.numel()
    if abs(float(z.mean())) > near + 4 / count**0.5 or abs(float((z**3).mean())) > near + 4 * (15 / count) ** 0.5:
        return False
    if abs(float((z**4).mean()) - 3) > 3 * near + 4 * (96 / count) ** 0.5:
        return False
    beside = z[:, 1:] * z[:, :-1]
    return beside.numel() == 0 or abs(float(beside.mean())) <= near + 4 / beside.numel() ** 0.5


def _likeness(z: Tensor, ids: Tensor) -> bool:
    """Whether rows of the same id are unrelated."""
    _, places, counts = ids.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), z.shape[1], dtype=z.dtype).index_add(0, places, z)
    pairs = float((counts * (counts - 1)).sum()) * z.shape[1]
    if pairs == 0:
        return True
    return abs(float(sums.square().sum() - z.square().sum())) / pairs <= 0.1 + 4 / (pairs / 2) ** 0.5
