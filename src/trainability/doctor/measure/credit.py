"""What weights of log-probabilities are made of: discounted sums of the rewards before an action, or of those after it."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

_FEWEST = 8  # steps
_MOST_FRAMES, _MOST_ITEMS, _MOST_WEIGHTS = 40, 4096, 4
_EXACT, _OTHER = 1e-4, 1e-2  # of the weights' range
_DISCOUNTS = (1.0, 0.999, 0.998, 0.997, 0.995, 0.99, 0.985, 0.98, 0.975, 0.97, 0.96, 0.95, 0.94, 0.93, 0.92, 0.91)
_DISCOUNTS += (0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5)
_REWARDS, _LETTERS = frozenset({"reward", "rew"}), frozenset({"r", "rs"})
_HOLDERS = frozenset({"episode", "trajectory", "trajectorie", "traj", "rollout", "memory", "buffer", "transition", "path"})
_HOLDERS |= {"batch", "batche", "data", "history"}
_UNSURE = frozenset({"baseline", "model", "total", "mean", "std", "running", "cum", "cumulative", "sum"})
_TORCH = torch.__path__[0]
_OWN = __name__.partition(".")[0]

_IN_ORDER, _TURNED = "in order", "turned"  # in place of the actions, where they are not known
_FLIPS = frozenset({"flip", "fliplr", "flipud"})

Rewards = list[Tensor]  # of one sequence of steps, or of several episodes one after another


class Credit:
    """Weights of log-probabilities, in the order of time, beside the rewards that the program's variables hold.

    Order is that of the draws: a program may as well keep everything from the last step to the first.
    """

    def __init__(self) -> None:
        self._draws: list[Tensor] = []
        self._of: dict[int, tuple[Tensor, Any]] = {}  # by id of log-probabilities: what they are of, a draw's number or actions
        self._weights: list[tuple[Tensor, Any, dict[str, Rewards]]] = []
        self._single: list[tuple[int, float]] = []
        self._asked: set[int] = set()  # numbers of draws whose log-probability was computed
        self._used: set[int] = set()  # of those that anything else was computed from
        self._weighted: set[int] = set()  # of those whose log-probability was multiplied by a weight
        self._beside: dict[str, Rewards] = {}

    @property
    def num_draws(self) -> int:
        """Draws that were noted."""
        return len(self._draws)

    def drawn(self, draw: Any, behind: int | None = None) -> None:
        """Note a draw of actions, in place of those behind a number of draws, which it was made of."""
        if behind is not None:
            del self._draws[behind:]
            self._used = {number for number in self._used if number < behind}
        if isinstance(draw, Tensor) and len(self._draws) < _MOST_ITEMS:
            self._draws.append(draw)

    def asked(self, logarithm: Tensor, actions: Any) -> None:
        """Note the log-probabilities of some actions."""
        if isinstance(actions, Tensor):
            number = self._number(actions)
            self._asked |= {number} if number is not None else set()
            self._of[id(logarithm)] = logarithm, [number] if number is not None and actions.numel() == 1 else actions

    def _number(self, values: Tensor) -> int | None:
        """Of the draw that some values are."""
        return next((k for k, draw in enumerate(self._draws) if draw.data_ptr() == values.data_ptr()), None)

    def used(self, args: tuple) -> None:
        """Note that something is computed from draws, other than their log-probability."""
        parts = [part for item in args for part in (item if isinstance(item, list | tuple) else (item,))]
        for part in parts if self._draws else ():
            if isinstance(part, Tensor) and (number := self._number(part)) is not None:
                self._used.add(number)

    def drawn_again(self) -> bool:
        """Whether weights multiply log-probabilities of draws that nothing is computed from, beside others of their shape.

        The others are used, and nobody asks for their log-probability: a reward of one action is credited to another.
        """
        alone = self._weighted - self._used
        others = [self._draws[k] for k in self._used - self._asked]
        return bool(alone) and all(any(each.shape == self._draws[k].shape for each in others) for k in alone)

    def follow(self, name: str, args: tuple, result: Tensor) -> None:
        """Note that a tensor holds the same log-probabilities as those that it was made of."""
        parts = args[0] if args and isinstance(args[0], list | tuple) else args
        known = [self._of[id(part)][1] for part in parts if isinstance(part, Tensor) and id(part) in self._of]
        if len(known) > 1 and all(isinstance(item, list) for item in known):
            self._of[id(result)] = result, [number for item in known for number in item]
        elif len(known) == 1:
            self._of[id(result)] = result, _TURNED if name in _FLIPS else known[0]

    def met(self, logarithm: Tensor, weight: Any) -> None:
        """Note what log-probabilities are multiplied by."""
        _, actions = self._of.get(id(logarithm), (None, None))
        weight = weight.detach() if isinstance(weight, Tensor) else weight
        if isinstance(actions, Tensor) and (number := self._number(actions)) is not None:
            self._weighted.add(number)
        elif isinstance(actions, list):
            self._weighted |= {number for number in actions if number is not None}
        if logarithm.numel() == 1 and isinstance(actions, list):
            self._beside = self._beside or _rewards_in_frames()
            self._single.append((actions[0], float(weight)))
        elif isinstance(weight, Tensor) and weight.numel() >= _FEWEST and len(self._weights) < _MOST_WEIGHTS:
            self._weights.append((weight.clone().double().cpu(), actions, _rewards_in_frames()))

    def facts(self) -> dict[str, Any]:
        """The fields of `Facts` about them."""
        return {"credited": self.found(), "drawn_again": self.drawn_again()}

    def found(self) -> tuple[str, float] | None:
        """Look for weights that are discounted sums of the rewards up to each step.

        Returns:
            The variable that holds the rewards, and the discount; None where there is none.
        """
        if len({number for number, _ in self._single}) == len(self._single) >= _FEWEST:
            values = torch.tensor([value for _, value in sorted(self._single)], dtype=torch.float64)
            self._weights.append((values, _IN_ORDER, self._beside))
        for weight, actions, rewards in self._weights:
            for name, parts in rewards.items():
                if (discount := _up_to_each(weight, parts)) is not None and self._in_order(actions, parts):
                    return name, discount
        return None

    def _in_order(self, actions: Any, parts: Rewards) -> bool:
        """Whether the actions stand as they were drawn, not from the last to the first."""
        if isinstance(actions, str):
            return actions == _IN_ORDER
        if isinstance(actions, list):
            return None not in actions and actions == sorted(actions)
        if isinstance(actions, Tensor) and any(_is_turned(actions, draw) for draw in self._draws):
            return False
        alike = [draw for draw in self._draws if self._draws and draw.shape == self._draws[0].shape]
        if not isinstance(actions, Tensor) or len(alike) < _FEWEST or len(alike) != len(self._draws):
            return any(float(part.max() - part.min()) > 0 for part in parts)  # rewards of one kind tell no order
        drawn = torch.stack([draw.detach().cpu() for draw in alike]).double()
        return _one_after_another(drawn.flatten(1), actions.detach().cpu().double(), parts)


def _is_turned(taken: Tensor, draw: Tensor) -> bool:
    """Whether actions are a draw of several steps with one of its dimensions backwards."""
    if draw.dim() < 2 or taken.shape != draw.shape or torch.equal(taken, draw):
        return False
    return any(torch.equal(taken, draw.flip(dim)) for dim in range(draw.dim()))


def _one_after_another(drawn: Tensor, taken: Tensor, parts: Rewards) -> bool:
    """Whether actions are the draws in their order: (draws, episodes) as they are, or one episode after another."""
    sizes = [len(part) for part in parts]
    if taken.numel() == drawn.numel():
        shapes = drawn.shape, drawn.t().shape
        return torch.equal(taken.reshape(shapes[0]), drawn) or torch.equal(taken.reshape(shapes[1]), drawn.t())
    if taken.numel() != sum(sizes):
        return False
    rows = taken.flatten().split(sizes)
    if drawn.shape[1] == 1:
        return torch.equal(taken.flatten(), drawn.flatten()[: taken.numel()])
    is_side_by_side = len(rows) <= drawn.shape[1] and max(sizes) <= len(drawn)
    return is_side_by_side and all(torch.equal(row, drawn[: len(row), k]) for k, row in enumerate(rows))


def _up_to_each(weight: Tensor, parts: Rewards) -> float | None:
    """The discount with which weights are sums of the rewards up to each step, but for scale and shift; None without one."""
    if weight.numel() != sum(part.numel() for part in parts):
        return None
    ways = [(weight.flatten(), parts)]
    if len(parts) == 1 and parts[0].dim() == 2:
        rewards = parts[0]
        if weight.dim() == 2 and weight.shape == rewards.shape[::-1] and weight.shape != rewards.shape:
            weight = weight.t()
        ways = [(weight.reshape(rewards.shape), parts), (weight.reshape(rewards.shape).t(), [rewards.t()])]
    for values, rows in ways:
        whole = torch.cat(rows)
        if max(map(len, rows)) < _FEWEST or not bool(whole.any()):
            continue
        is_one_number = float(whole.max()) == float(whole.min())
        if _affine(values, whole, _OTHER) is not None:
            continue
        for discount in _DISCOUNTS:
            before = torch.cat([_sums(row, discount) for row in rows])
            scale = _affine(values, before, _EXACT)
            is_by_step = scale is None and len(rows) == 1 and _by_step(values, before)
            if (scale is None or (is_one_number and scale < 0)) and not is_by_step:
                continue  # of rewards of one kind, sums from the end with a factor are like these with a minus
            after = torch.cat([_sums(row.flip(0), discount).flip(0) for row in rows])
            if not _by_step(values, after, _OTHER) if is_by_step else _affine(values, after, _OTHER) is None:
                return discount
    return None


def _by_step(values: Tensor, sums: Tensor, within: float = _EXACT) -> bool:
    """Whether the weights (steps, episodes) of each step are its sums but for a scale and a shift, as where it is normalised.

    Steps of which all episodes have the same sum, as before the first reward, are left out.
    """
    if values.dim() != 2 or values.shape[1] < _FEWEST:
        return False
    scales = [_affine(own, of, within) for own, of in zip(values, sums, strict=True) if float(of.std()) > 0]
    return len(scales) >= _FEWEST // 2 and all(scale is not None and scale > 0 for scale in scales)


def _sums(rewards: Tensor, discount: float) -> Tensor:
    sums = [rewards[0]]
    for reward in rewards[1:]:
        sums.append(reward + discount * sums[-1])
    return torch.stack(sums)


def _affine(values: Tensor, of: Tensor, within: float) -> float | None:
    """The factor with which some numbers are others, but for a shift; None where they are not."""
    x, y = of.flatten() - of.mean(), values.flatten() - values.mean()
    span, square = float(y.max() - y.min()), float(x @ x)
    if not square > 1e-12 * float(of.flatten() @ of.flatten()) or not 0 < span < math.inf:
        return None
    scale = float(x @ y) / square
    return scale if scale != 0 and float((y - scale * x).abs().max()) <= within * span else None


# ------------------------------------------------------------------------------------------- what variables hold


def _rewards_in_frames() -> dict[str, Rewards]:
    """Rewards in variables of the program's own frames, by name: numbers step by step, or lists of them, an episode each."""
    found: dict[str, Rewards] = {}
    frame = sys._getframe(2)
    for _ in range(_MOST_FRAMES):
        if frame is None:
            break
        is_own = frame.f_globals.get("__name__", "").partition(".")[0] == _OWN
        if not is_own and not frame.f_code.co_filename.startswith(_TORCH):
            used = {name: frame.f_globals[name] for name in frame.f_code.co_names if name in frame.f_globals}
            for name, value in _held({**used, **frame.f_locals}):
                if (parts := _sequences(value)) is not None:
                    found.setdefault(name, parts)
        frame = frame.f_back
    return found


def _held(variables: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in variables.items():
        if _is_named(name, _REWARDS) or name in _LETTERS:
            yield name, value
        elif isinstance(value, dict) or (hasattr(value, "__dict__") and not isinstance(value, Tensor | type)):
            inner = value if isinstance(value, dict) else vars(value)
            yield from ((f"{name}.{k}", v) for k, v in inner.items() if isinstance(k, str) and _is_named(k, _REWARDS))
        elif isinstance(value, list) and value and len(value) <= _MOST_ITEMS and _is_named(name, _HOLDERS):
            yield from _columns(name, value)


def _columns(name: str, rows: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Of a list of tuples or dicts, an episode or a step each, what they hold at each place."""
    first = rows[0]
    if isinstance(first, tuple | list) and all(isinstance(r, tuple | list) and len(r) == len(first) for r in rows):
        if not _are_numbers(first):
            for k, item in enumerate(first):
                if isinstance(item, float) or (isinstance(item, list | tuple) and item and isinstance(item[0], float)):
                    yield f"{name}[..][{k}]", [row[k] for row in rows]
    elif isinstance(first, dict):
        for key in first:
            if isinstance(key, str) and _is_named(key, _REWARDS) and all(key in row for row in rows):
                yield f'{name}[..]["{key}"]', [row[key] for row in rows]


def _sequences(value: Any) -> Rewards | None:
    if (whole := _numbers(value)) is not None:
        return [whole] if whole.numel() >= _FEWEST else None
    if isinstance(value, list | tuple) and 0 < len(value) <= _MOST_ITEMS:
        parts = [_numbers(item) for item in value]
        if all(part is not None and part.dim() == 1 for part in parts):
            return [part for part in parts if part is not None and len(part)]
    return None


def _numbers(value: Any) -> Tensor | None:
    """Numbers of one shape as a tensor: (steps) or (steps, episodes) or the other way round; None of anything else."""
    if isinstance(value, list | tuple):
        if not value or len(value) > _MOST_ITEMS:
            return None
        if _are_numbers(value):
            return torch.tensor([float(item) for item in value], dtype=torch.float64)
        parts = [_numbers(item) for item in value if isinstance(item, Tensor) or hasattr(item, "__array__")]
        shapes = {part.shape if part is not None else None for part in parts}
        return torch.stack(parts) if len(parts) == len(value) and len(shapes) == 1 and None not in shapes else None  # type: ignore[arg-type]
    if not isinstance(value, Tensor) and hasattr(value, "__array__") and hasattr(value, "dtype"):
        value = torch.as_tensor(value) if value.dtype.kind in "fiu" else None
    if not isinstance(value, Tensor) or value.is_complex() or value.dtype == torch.bool:
        return None
    found = value.detach().double().cpu().squeeze()
    return found if 0 < found.numel() <= 1 << 20 and found.dim() <= 2 else None


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(v, float | int) or (getattr(v, "ndim", 1) == 0 and hasattr(v, "item")) for v in values)


def _is_named(name: str, words: frozenset[str]) -> bool:
    parts = {part.lower() for part in re.split(r"_|(?<=[a-z])(?=[A-Z])", name)}
    parts |= {part.removesuffix("s") for part in parts} | {
        part.removesuffix("ies") + "y" for part in parts if part.endswith("ies")
    }
    return bool(parts & words) and not parts & _UNSURE
