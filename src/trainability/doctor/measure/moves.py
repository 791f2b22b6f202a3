"""The exact map between two readings of an image: flips, quarter turns, and shifts of what both show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_NEAR, _FAR = 0.1, 0.4  # squared difference to the right map's image and to every other, over twice the variance
_OVERLAP = 0.5  # share of either side that two readings have in common
_PEAKS = 3
_SAME_SUM = 1e-4  # of the spread
_FEWEST_MIRRORED = 8

AS_IT_IS = "as it is"
TURNS: dict[str, Callable[[Tensor], Tensor]] = {
    AS_IT_IS: lambda x: x,
    "left and right": lambda x: x.flip(-1),
    "top and bottom": lambda x: x.flip(-2),
    "half a turn": lambda x: x.flip(-1, -2),
    "transposed": lambda x: x.transpose(-1, -2),
    "a quarter": lambda x: x.transpose(-1, -2).flip(-1),
    "a quarter back": lambda x: x.transpose(-1, -2).flip(-2),
    "across": lambda x: x.transpose(-1, -2).flip(-1, -2),
}


@dataclass(frozen=True)
class Move:
    """What was done: a turn of `TURNS`, and then a shift down and to the right, in pixels."""

    turn: str = AS_IT_IS
    shift: tuple[int, int] = (0, 0)

    @property
    def is_none(self) -> bool:
        """Whether nothing was done."""
        return self.turn == AS_IT_IS and not any(self.shift)


def move_of(before: Tensor, after: Tensor) -> Move | None:
    """Find the one move that makes one reading of the other; None where none does, or several do, as of what is symmetrical.

    Args:
        before: (..., height, width), or (length,) of a sequence.
        after: likewise; under other noise and in other colours, too.
    """
    exact, near = moves_of(before, after), moves_of(before, after, exact=False)
    found = exact if len(exact) == 1 else near
    return found[0] if len(found) == 1 else None


def moves_of(before: Tensor, after: Tensor, *, exact: bool = True) -> list[Move]:
    """Find all moves that make one reading of the other: turns alone; where none does, with a shift.

    Args:
        before: as of `move_of`.
        after: likewise.
        exact: whether all values that both show must be equal; else most of the variance: what lies between tells of nothing.
    """
    a, b = _grid(before), _grid(after)
    if a.shape != b.shape:
        return []
    views = _views(a)
    if exact:
        fits = [name for name, view in views.items() if torch.equal(view, b)]
    else:
        errors = {name: _error(view, b) for name, view in views.items()}
        fits = [name for name, error in errors.items() if error < _NEAR]
        if fits and sum(error < _FAR for error in errors.values()) > len(fits):
            return []
    if fits or before.dim() == 1:
        return [Move(name) for name in fits]
    shifts = {name: _shift(view, b, exact=exact) for name, view in views.items()}
    return [Move(name, shift) for name, shift in shifts.items() if shift is not None]


def moves_together(move: Move, before: Tensor, after: Tensor) -> bool | None:
    """Whether a target's two readings are as its image's; None where that is not to be told, as of one value alone.

    Args:
        move: of the image.
        before: (..., height, width) of the target, or (length,).
        after: likewise.
    """
    a, b = _grid(before), _grid(after)
    views = _views(a)
    if a.shape != b.shape or move.turn not in views:
        return None
    view = views[move.turn]
    if any(move.shift):
        if before.dim() == 1:
            return None
        x, y = _common(view, b, move.shift)
    else:
        x, y = view, b
    if torch.equal(x, y):
        told = bool((y != y.flatten()[0]).any())
        return True if told else None
    return False


def resized(move: Move, size: tuple[int, ...], other: tuple[int, ...]) -> Move | None:
    """The same move of a picture of another size, as at half the resolution; None where it is no whole number of pixels.

    Args:
        move: of a picture.
        size: its height and width.
        other: of the other picture; of one dimension, as of tags of steps, the move is left as it is.
    """
    if len(other) < 2 or tuple(size) == tuple(other):
        return move
    parts = [divmod(shift * new, old) for shift, new, old in zip(move.shift, other, size, strict=True)]
    return None if any(rest for _, rest in parts) else Move(move.turn, (parts[0][0], parts[1][0]))


def mirrored_numbers(pairs: list[tuple[Tensor, Tensor]]) -> bool:
    """Whether numbers that change between readings change to those of the mirror image, as places do: their sums are constant.

    Args:
        pairs: two readings of each target, of one shape.
    """
    before = torch.stack([a.flatten().double() for a, _ in pairs])
    after = torch.stack([b.flatten().double() for _, b in pairs])
    changed, any_mirrored = before != after, False
    for column in range(before.shape[1]):
        rows = changed[:, column]
        if not bool(rows.any()):
            continue
        if int(rows.sum()) < _FEWEST_MIRRORED:
            return False
        old, new = before[rows], after[rows, column]
        sums = old + new[:, None]
        spread = old.std(dim=0)
        is_constant = (sums.std(dim=0) <= _SAME_SUM * spread) & (spread > 0)
        if not bool(is_constant.any()):
            return False
        any_mirrored = True
    return any_mirrored


def _grid(t: Tensor) -> Tensor:
    t = t if t.dim() > 1 else t[None]
    return t if t.is_floating_point() else t.long()


def _views(a: Tensor) -> dict[str, Tensor]:
    if a.shape[-2] < 2 or a.shape[0] == a.shape[-2] == 1:
        names = [AS_IT_IS, "left and right"]
    else:
        names = list(TURNS) if a.shape[-1] == a.shape[-2] else list(TURNS)[:4]
    return {name: TURNS[name](a) for name in names}


def _error(view: Tensor, b: Tensor) -> float:
    """Squared difference of both, each channel in its own scale, over twice the variance: 1 of what has nothing in common."""
    x, y = (t.double().reshape(-1, t.shape[-2] * t.shape[-1]) for t in (view, b))
    x, y = x - x.mean(dim=1, keepdim=True), y - y.mean(dim=1, keepdim=True)
    varied = (x.norm(dim=1) > 0) & (y.norm(dim=1) > 0)
    if not bool(varied.any()):
        return 0.0  # one value alone: every move fits
    x, y = x[varied], y[varied]
    x, y = x / x.norm(dim=1, keepdim=True), y / y.norm(dim=1, keepdim=True)
    return float((x - y).square().sum() / (2 * len(x)))


def _shift(view: Tensor, b: Tensor, *, exact: bool) -> tuple[int, int] | None:
    """By how much one is moved against the other, of the best places of their correlation; None where none is plain."""
    height, width = b.shape[-2:]
    x, y = (t.double().reshape(-1, height, width).mean(dim=0) for t in (view, b))
    x, y = x - x.mean(), y - y.mean()
    size = (2 * height, 2 * width)
    products = torch.fft.irfft2(torch.fft.rfft2(y, s=size) * torch.fft.rfft2(x, s=size).conj(), s=size)
    fits = []
    for place in products.flatten().topk(_PEAKS).indices.tolist():
        down, right = divmod(place, 2 * width)
        shift = (down - 2 * height * (down > height), right - 2 * width * (right > width))
        if abs(shift[0]) > (1 - _OVERLAP) * height or abs(shift[1]) > (1 - _OVERLAP) * width:
            continue
        p, q = _common(view, b, shift)
        if (torch.equal(p, q) and bool((q != q.flatten()[0]).any())) if exact else _error(p, q) < _NEAR:
            fits.append(shift)
    return fits[0] if len(fits) == 1 else None


def _common(view: Tensor, b: Tensor, shift: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The parts that both show."""
    (down, right), (height, width) = shift, b.shape[-2:]
    own = view[..., max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
    return own, b[..., max(down, 0) : height - max(-down, 0), max(right, 0) : width - max(-right, 0)]
