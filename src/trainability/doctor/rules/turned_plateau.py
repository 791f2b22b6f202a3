"""A `ReduceLROnPlateau` that takes each better number for a worse one, or is given a number that says nothing. No rule."""

import bisect
import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.plateau_calls import PlateauCall, PlateauCalls

_FEWEST_CALLS, _FEWEST_CUTS = 4, 2
_LIVE = 0.02  # of the first rate: cuts of what is next to nothing say nothing of the loss
_FALLS = 0.01  # of the loss, between two cuts
_AGREES = 0.8  # rank correlation with the training loss
# Standard deviation of the logarithm of metric over loss; over the fall of the loss's logarithm, which is 0.3 of a constant.
_PROPORTIONAL, _SHARE_OF_FALL = 0.15, 0.1
_NEAR = math.log(2)  # a validation loss beside the training loss of the first epoch
_LEAST_FALL = 0.1  # of the logarithm of the loss
_LEAST_RISE = 0.1  # of an accuracy
_MOST_EXAMPLES, _SAME = 5000, 2e-6  # of a validation set; of a share that was summed in float32
_DECIMALS = 1000  # three
_WANTED = {"loss": "min", "error": "min", "accuracy": "max", "negative loss": "max"}
_WORDS = {"loss": "a loss", "error": "an error rate", "accuracy": "an accuracy", "negative loss": "a negative loss"}


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """One call, and the mean training loss of the steps since the one before."""

    call: PlateauCall
    loss: float


def turned_plateau(evidence: Evidence) -> list[Finding]:
    """Test whether the rate was cut again and again while the metric improved and the training loss fell.

    Args:
        evidence: of a script that was watched.
    """
    plateau = evidence.optimizer.plateau if evidence.optimizer is not None else None
    seen = _with_losses(evidence, plateau) if plateau is not None else []
    if plateau is None or len(seen) < _FEWEST_CALLS:
        return []
    cuts = [k for k, each in enumerate(seen) if each.call.is_cut]
    live = [k for k in cuts if seen[k].call.before > _LIVE * seen[0].call.before and k > 0]
    if len(cuts) < _FEWEST_CUTS or not live or live[0] != cuts[0]:
        return []
    spans = [(seen[start], seen[end]) for start, end in itertools.pairwise((0, *live))]
    if not all(end.loss < (1 - _FALLS) * start.loss for start, end in spans):
        return []
    values = [each.call.value for each in seen]
    if len(set(values)) == 1 or _is_count(values):
        return [_unrelated(plateau, seen, cuts)]
    kind = _kind(seen[: max(live[-1] + 1, _FEWEST_CALLS)])
    if kind is None or _WANTED[kind] == plateau.mode:
        return []
    sign = 1 if _WANTED[kind] == "max" else -1
    better = [sign * (end.call.value - start.call.value) > 0 for start, end in spans]
    return [_turned(plateau, seen, cuts, kind)] if better[0] and 2 * sum(better) >= len(better) else []


def _with_losses(evidence: Evidence, plateau: PlateauCalls) -> list[_Seen]:
    """Calls between which losses are known; of a long run those of the middle are not."""
    numbers, found, before = [step.step for step in evidence.finite_steps], [], 0
    for call in plateau.calls:
        end = bisect.bisect_right(numbers, call.step)
        if end > before and math.isfinite(call.value):
            found.append(_Seen(call=call, loss=statistics.fmean(step.loss for step in evidence.finite_steps[before:end])))
        before = end
    return found


def _is_count(values: Sequence[float]) -> bool:
    """Whether each number is the one before and 1, as an epoch's number."""
    return all(value == values[0] + k for k, value in enumerate(values)) and values[0] in (0, 1)


def _kind(seen: Sequence[_Seen]) -> str | None:
    """What the metric is: "loss" and "negative loss" follow the training loss, "accuracy" and "error" are shares of examples.

    A validation loss that rises while the training loss falls is neither: a share that rises from the first call on, by a
    tenth, is no error rate, either.
    """
    values, losses = [each.call.value for each in seen], [each.loss for each in seen]
    agree = _correlation(values, losses)
    share = _as_shares(values, losses[0])
    if share is not None:
        rise = share[-1] - share[0]
        if agree <= -_AGREES and rise >= _LEAST_RISE and share[0] == min(share):
            return "accuracy"
        return "error" if agree >= _AGREES and rise <= -_LEAST_RISE and share[0] == max(share) else None
    if min(losses) <= 0 or not (min(values) > 0 or max(values) < 0):
        return None
    over = [math.log(abs(value) / loss) for value, loss in zip(values, losses, strict=True)]
    fall = math.log(losses[0] / losses[-1])
    if fall < _LEAST_FALL:
        return None
    if statistics.pstdev(over) <= min(_PROPORTIONAL, _SHARE_OF_FALL * fall):
        return "loss" if values[0] > 0 else "negative loss"
    falls_too = values[0] > 0 and agree >= _AGREES and math.log(values[0] / values[-1]) >= fall / 2
    return "loss" if falls_too and abs(over[0]) <= _NEAR else None


def _correlation(values: Sequence[float], losses: Sequence[float]) -> float:
    if len(set(values)) < 2 or len(set(losses)) < 2:
        return 0.0
    return statistics.correlation(_ranks(values), _ranks(losses))


def _ranks(values: Sequence[float]) -> list[float]:
    """By size; equal ones share the mean of theirs."""
    ordered = sorted(values)
    return [(bisect.bisect_left(ordered, value) + bisect.bisect_right(ordered, value)) / 2 for value in values]


def _as_shares(values: Sequence[float], loss: float) -> list[float] | None:
    """The values in [0, 1], where all are shares of one whole number of examples, or a hundred times that.

    None of those with few decimals that begin near the loss: they may be losses that were rounded.
    """
    is_rounded = all(abs(value * _DECIMALS - round(value * _DECIMALS)) <= _SAME * _DECIMALS for value in values)
    if is_rounded and values[0] > 0 < loss and abs(math.log(values[0] / loss)) <= _NEAR:
        return None
    for scale in (1.0, 100.0):
        shares = [value / scale for value in values]
        if min(shares) < 0 or max(shares) > 1 or len(set(shares)) < 3:
            continue
        for num in range(2, _MOST_EXAMPLES + 1):
            if all(abs(share * num - round(share * num)) <= _SAME * num for share in shares):
                return shares
    return None


def _cuts_told(seen: Sequence[_Seen], cuts: Sequence[int]) -> str:
    first, last = seen[cuts[0]], seen[cuts[-1]]
    return (
        f"it has reduced the rate {len(cuts)} times, from {first.call.before:.2g} to {last.call.after:.2g}, for the first time "
        f"at step {first.call.step:,}"
    )


def _measurements(seen: Sequence[_Seen], cuts: Sequence[int]) -> tuple[Measurement, ...]:
    return (
        Measurement(name="reductions of the rate", value=float(len(cuts)), threshold=float(_FEWEST_CUTS)),
        Measurement(name="rate over that of the start", value=seen[-1].call.after / seen[0].call.before),
        Measurement(name="metric at the first call", value=seen[0].call.value),
        Measurement(name="metric at the first reduction", value=seen[cuts[0]].call.value),
    )


def _turned(plateau: PlateauCalls, seen: Sequence[_Seen], cuts: Sequence[int], kind: str) -> Finding:
    wanted, cut = _WANTED[kind], seen[cuts[0]]
    return Finding(
        rule="rate_dies",
        code="rate_dies.mode",
        severity="warning",
        seen=f'ReduceLROnPlateau has mode="{plateau.mode}" and is given {_WORDS[kind]}, which improved from '
        f"{seen[0].call.value:.3g} to {cut.call.value:.3g} while the training loss fell from {seen[0].loss:.3g} to "
        f"{cut.loss:.3g}; {_cuts_told(seen, cuts)}",
        measurements=_measurements(seen, cuts),
        cause=f'with mode="{plateau.mode}", ReduceLROnPlateau counts each better value as one without improvement',
        remedy=f'ReduceLROnPlateau(optimizer, mode="{wanted}", ...), or give it '
        + ("the validation loss" if wanted == "max" else "an accuracy")
        + f' and keep mode="{plateau.mode}"',
        source="PyTorch, torch.optim.lr_scheduler.ReduceLROnPlateau; own, what it was given compared with the losses",
    )


def _unrelated(plateau: PlateauCalls, seen: Sequence[_Seen], cuts: Sequence[int]) -> Finding:
    """Of a constant or a count; an accuracy may stand still by itself while the loss falls."""
    value, is_constant = seen[0].call.value, seen[0].call.value == seen[-1].call.value
    may_be_accuracy = is_constant and (0 <= value <= 1 or 10 <= value <= 100)
    return Finding(
        rule="rate_dies",
        code="rate_dies.metric",
        severity="hint" if may_be_accuracy else "warning",
        seen="ReduceLROnPlateau is given "
        + (f"the same number, {value:.3g}, at each call" if is_constant else "numbers that count the calls, as epochs do")
        + f", while the training loss fell; {_cuts_told(seen, cuts)}",
        measurements=_measurements(seen, cuts),
        cause="the number does not depend on what the model has learned",
        remedy="scheduler.step(validation_loss), with the loss of the epoch that has just ended"
        + (' and mode="min"' if plateau.mode != "min" else ""),
        source="PyTorch, torch.optim.lr_scheduler.ReduceLROnPlateau; own, what it was given compared with the losses",
    )
