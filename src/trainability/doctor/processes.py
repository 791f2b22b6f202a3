"""What the processes of a data-parallel run have in common at a sampled step, and what they do not. Data only; no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Post:
    """What one process tells the others of a sampled step.

    Weights are told by one number a parameter: the sum of up to 1,024 of its elements, each times a number that is drawn once
    and the same everywhere. Equal weights have equal sums, and the root of the summed squares of their differences estimates
    how far unequal ones are apart.

    Attributes:
        rank: of the process.
        step: counts from 1.
        layout: names the compared parameters, in short: those of which every process holds a whole copy. Shards are not
            compared.
        before: weights before the step.
        after: weights after it; () where nothing tells when the step ends.
        squares: sums of the squares of the same elements, before the step.
        gradient_norm: over the compared parameters, after backward; None where there are none.
        step_gradient_norm: over the same, as the optimizer gets them.
        clip_ratio: gradient as the optimizer gets it over the one after backward.
        between_ratio: smallest ratio by which a gradient shrank between two backward passes of the step.
        inputs: one number for the model's inputs, as for weights; None without tensors, or where all are one constant.
        loss: of this process.
        lr: largest learning rate.
        called: whether the wrapper was called; None where there is none to call.
        synced: whether the step's last forward pass asked for a reduction; None where that cannot be told.
    """

    rank: int
    step: int
    layout: str = ""
    before: tuple[float, ...] = ()
    after: tuple[float, ...] = ()
    squares: tuple[float, ...] = ()
    gradient_norm: float | None = None
    step_gradient_norm: float | None = None
    clip_ratio: float | None = None
    between_ratio: float | None = None
    inputs: float | None = None
    loss: float | None = None
    lr: float | None = None
    called: bool | None = None
    synced: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One sampled step, side by side. Tuples are in the order of `ranks`; a number that a process lacks is NaN.

    Attributes:
        step: counts from 1.
        ranks: processes that told of this step.
        losses: of each.
        lrs: largest learning rate of each.
        gradient_norms: after backward, where a wrapper has reduced them.
        step_gradient_norms: as the optimizer gets them.
        clip_ratios: gradient as the optimizer gets it over the one after backward.
        between_ratios: smallest ratio by which a gradient shrank between two backward passes of the step.
        weights_distance: largest distance of the weights of two processes before the step, over their norm; None where no
            process holds whole weights.
        update_distance: the same of what the step adds to the weights, over its norm.
        differing: parameters whose weights differ, before the step or, if none does, after it.
        num_compared: parameters that were compared.
        same_inputs: groups of processes that had the same inputs.
        inputs_compared: processes whose inputs could be compared.
        not_called: processes that did not call the wrapper.
        not_synced: processes whose last forward pass of the step was under `no_sync`.
    """

    step: int
    ranks: tuple[int, ...]
    losses: tuple[float, ...] = ()
    lrs: tuple[float, ...] = ()
    gradient_norms: tuple[float, ...] = ()
    step_gradient_norms: tuple[float, ...] = ()
    clip_ratios: tuple[float, ...] = ()
    between_ratios: tuple[float, ...] = ()
    weights_distance: float | None = None
    update_distance: float | None = None
    differing: tuple[str, ...] = ()
    num_compared: int = 0
    same_inputs: tuple[tuple[int, ...], ...] = ()
    inputs_compared: int = 0
    not_called: tuple[int, ...] = ()
    not_synced: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Processes:
    """What is known of the processes that train one model together.

    Attributes:
        ranks: of the group that shares the batch.
        wrapper: "DistributedDataParallel", "fully_shard", or None for neither.
        hook: name of a communication hook that replaces the wrapper's reduction.
        outside: trainable parameters of this process that the wrapper does not know.
        unreduced: parameters of this process that the wrapper waits for and that have no gradient.
        comparisons: sampled steps, the first ones and the last ones.
        missing: processes that told of no step that this one sampled.
        lost: why the comparison ended, where it did.
    """

    ranks: tuple[int, ...]
    wrapper: str | None = None
    hook: str | None = None
    outside: tuple[str, ...] = ()
    unreduced: tuple[str, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    missing: tuple[int, ...] = ()
    lost: str | None = None


def spread(values: Sequence[float]) -> float:
    """Largest minus smallest, over the largest magnitude; 0 with fewer than two values, or where one is not finite."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return 0.0
    most = max(map(abs, values))
    return (max(values) - min(values)) / most if most > 0 else 0.0


def compared(posts: Sequence[Post], names: Sequence[str]) -> Comparison:
    """Put the posts of one step side by side.

    Args:
        posts: of different processes, at least two, all of the same step.
        names: of the compared parameters.
    """
    posts = sorted(posts, key=lambda post: post.rank)
    weights = [post for post in posts if len(post.before) == len(names) > 0 and post.layout == posts[0].layout]
    weights = [post for post in weights if _is_finite(post.before)]
    moves = [tuple(a - b for a, b in zip(post.after, post.before, strict=False)) for post in weights if _is_finite(post.after)]
    befores = [post.before for post in weights]
    apart = _distance(befores, math.sqrt(math.fsum(weights[0].squares))) if len(weights) > 1 else None
    moved = [move for move in moves if move]
    update = _distance(moved, _norm(max(moved, key=_norm))) if len(moved) > 1 else None
    differing = _differing(befores) or _differing([post.after for post in weights if post.after])
    told = [post for post in posts if post.inputs is not None and math.isfinite(post.inputs)]
    groups = [tuple(post.rank for post in told if post.inputs == value) for value in dict.fromkeys(p.inputs for p in told)]
    nan = math.nan
    return Comparison(
        step=posts[0].step,
        ranks=tuple(post.rank for post in posts),
        losses=tuple(nan if post.loss is None else post.loss for post in posts),
        lrs=tuple(nan if post.lr is None else post.lr for post in posts),
        gradient_norms=tuple(nan if post.gradient_norm is None else post.gradient_norm for post in posts),
        step_gradient_norms=tuple(nan if post.step_gradient_norm is None else post.step_gradient_norm for post in posts),
        clip_ratios=tuple(nan if post.clip_ratio is None else post.clip_ratio for post in posts),
        between_ratios=tuple(nan if post.between_ratio is None else post.between_ratio for post in posts),
        weights_distance=apart,
        update_distance=update,
        differing=tuple(names[i] for i in differing),
        num_compared=len(names) if len(weights) > 1 else 0,
        same_inputs=tuple(group for group in groups if len(group) > 1),
        inputs_compared=len(told),
        not_called=tuple(post.rank for post in posts if post.called is False),
        not_synced=tuple(post.rank for post in posts if post.synced is False),
    )


def _is_finite(values: Sequence[float]) -> bool:
    return all(map(math.isfinite, values))


def _norm(values: Sequence[float]) -> float:
    return math.sqrt(math.fsum(value * value for value in values))


def _distance(rows: Sequence[Sequence[float]], scale: float) -> float | None:
    """Largest distance of a row from the first, over the scale; None without one."""
    apart = max(_norm([a - b for a, b in zip(row, rows[0], strict=True)]) for row in rows)
    return apart / scale if scale > 0 else None


def _differing(rows: Sequence[Sequence[float]]) -> list[int]:
    """Places where rows differ, but for differences that are small beside the largest (rounding)."""
    if len(rows) < 2:
        return []
    apart = [max(column) - min(column) for column in zip(*rows, strict=True)]
    return [i for i, value in enumerate(apart) if value > 1e-4 * max(apart)]
