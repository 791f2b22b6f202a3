"""Controls: copies that ask a question and fix nothing."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.batches import batch_size, joined, tensors
from trainability.doctor.experimented import Arm
from trainability.doctor.experiments.data_changes import alike, exchanged, pairs, rearranged
from trainability.doctor.experiments.intervention import Intervention, named
from trainability.doctor.experiments.sources import reference_of
from trainability.doctor.experiments.variant import Variant
from trainability.doctor.rules.unrelated import SURE

_LEARNED = 0.85  # of what is left, with both seeds: else exchanged labels tell nothing
_TELLS = 0.1  # of what is left, at any look: so far ahead of exchanged labels no program is whose labels carry nothing
_PREDICTED = 0.95  # of what is left, at any look: so far below chance nothing comes that labels do not carry
_MOST_LEFT_OUT, _FEWEST_LEFT_OUT = 192, 12
_FEWEST_TOKENS, _PLACES = 4, 8


def _permuted(variant: Variant) -> None:
    generator = variant.generator()
    variant.batches = rearranged(variant, lambda size: torch.randperm(size, generator=generator), only=variant.task.target)
    variant.reference = reference_of(variant.batches)


def _goes_together(variant: Variant) -> bool:
    """Whether the data was seen to relate inputs to targets, so that a net that does not find it is no proof against it."""
    relation = variant.evidence.relation
    return relation is not None and relation.z >= SURE


def _read_permuted(arm: Arm, unchanged: Arm, other: Arm, left: Callable[[float | None], float]) -> tuple[str, bool]:
    """By the whole curves: in the end a net may have memorised what it first learned from the labels."""
    looks = [step for step, loss in arm.curve if math.isfinite(loss) and step <= min(unchanged.steps, other.steps)]
    own, exchanged, again = ([left(which.loss_at(step)) for step in looks] for which in (unchanged, arm, other))
    if not looks or min(own) > _LEARNED or min(again) > _LEARNED:
        return "it learns nothing with labels exchanged, and nothing without", False
    ahead = max(e - max(o, a) for o, e, a in zip(own, exchanged, again, strict=True))
    if ahead > _TELLS:
        return "what the program learns is in the labels: with labels exchanged it learns less", False
    return "it learns as fast with labels exchanged: what falls is not knowledge of the labels", True


def _split(variant: Variant) -> tuple[Tensor, Tensor] | None:
    """Places of the examples to train on, and of others, each once, that are not among them; None where there are too few."""
    if variant.split is None:
        variant.split = _places(variant) or ()
    return variant.split or None


def _places(variant: Variant) -> tuple[Tensor, Tensor] | None:
    """Examples that came several times, as in several epochs, are told by a sum over their values with random weights."""
    if not pairs(variant) or variant.task.target == "":
        return None
    batches = alike(variant)
    if 2 * len(batches) < len(variant.batches):  # of sequences by length, those of one length: too few to learn from
        return None
    generator, weights = variant.generator(), {}
    keys = torch.cat([_keys(batch, weights, generator) for batch in batches])
    _, which = keys.unique(return_inverse=True)
    distinct = int(which.max()) + 1
    count = min(_MOST_LEFT_OUT, distinct // 4)
    if count < _FEWEST_LEFT_OUT:
        return None
    is_out = torch.isin(which, torch.randperm(distinct, generator=generator)[:count])
    if int((~is_out).sum()) < (batch_size(variant.batches[0]) or 1):
        return None
    places = {int(number): place for place, number in enumerate(which.tolist()) if bool(is_out[place])}
    return torch.nonzero(~is_out).flatten(), torch.tensor(sorted(places.values()))


def _keys(batch: Any, weights: dict[str, Tensor], generator: torch.Generator) -> Tensor:
    """(examples,) on the host; the weights of a tensor that is seen for the first time are drawn."""
    keys = torch.zeros(batch_size(batch) or 0, dtype=torch.float64)
    for path, tensor in tensors(batch):
        rows = tensor.detach().cpu().reshape(len(keys), math.prod(tensor.shape[1:])).double()
        if path not in weights:
            weights[path] = torch.randn(rows.shape[1], generator=generator, dtype=torch.float64)
        wide = rows.expand(2, -1) if len(rows) == 1 else rows  # threads share a sum of one row, and round it otherwise
        keys += (wide * weights[path]).sum(dim=1)[: len(keys)]
    return keys


def _taken(batches: Sequence[Any], places: Tensor) -> Any:
    """One batch of the examples at these places of all batches, in ascending order."""
    parts, start = [], 0
    for batch in batches:
        end = start + (batch_size(batch) or 0)
        own = places[(places >= start) & (places < end)] - start
        if len(own):
            parts.append(exchanged(batch, lambda path, tensor, own=own: tensor[own.to(tensor.device)]))
        start = end
    return joined(parts)


def _without_some(variant: Variant) -> None:
    split = _split(variant)
    assert split is not None
    rest, once = split
    batches, width = alike(variant), batch_size(variant.batches[0]) or 1
    starts = range(0, len(rest) - width + 1, width)
    variant.batches = [_taken(batches, rest[at : at + width]) for at in starts]
    variant.reference = _taken(batches, once)


def _read_left_out(arm: Arm, unchanged: Arm, other: Arm, left: Callable[[float | None], float]) -> tuple[str, bool]:
    """By the lowest loss on the way: later on a net may be ever surer of answers that it has memorised."""
    lowest = min((left(loss) for _, loss in arm.curve), default=math.inf)
    if lowest < _PREDICTED:
        return "it answers examples that it was not trained on: what it learns is in the labels", False
    return "of examples that it was not trained on it answers none better than a constant does", True


def _next_tokens(variant: Variant) -> str | None:
    """Path of the tokens of which each target is the next; None where there are none."""
    output, parts = variant.output, dict(tensors(variant.reference))
    target = parts.get(variant.task.target or "")
    is_last = isinstance(variant.reference, tuple | list) and variant.task.target == f"[{len(variant.reference) - 1}]"
    if not (variant.is_plain and is_last) or target is None or target.dim() != 2 or target.shape[1] < _FEWEST_TOKENS:
        return None
    if output is None or output.dim() != 3 or output.shape[:2] != target.shape or len(target) < 2:
        return None
    asked = target[:, :-1] >= 0  # others are ignored by the loss
    for path, tokens in parts.items():
        is_apart = path != variant.task.target and tokens.shape == target.shape and not tokens.is_floating_point()
        if is_apart and bool(asked.any()) and bool((tokens[:, 1:] == target[:, :-1])[asked].all()):
            return path
    return None


def _future_exchanged(variant: Variant) -> None:
    """Judges by the loss, and by how much a token's loss rises when the tokens that follow it are another example's."""
    loss_fn, path = variant.loss_fn, _next_tokens(variant)
    assert loss_fn is not None
    assert path is not None

    def judge(model: Any, batch: Any) -> Tensor:
        *inputs, target = batch
        output, last = model(*inputs), target.shape[1] - 1
        rises = []
        for place in range(0, last, max(1, last // _PLACES)):
            later = exchanged(
                batch,
                lambda own, tensor, place=place: (
                    torch.cat((tensor[:, : place + 1], tensor.roll(1, 0)[:, place + 1 :]), dim=1) if own == path else tensor
                ),
            )
            there = slice(place, place + 1)
            own = target[:, there].contiguous()
            rises.append(loss_fn(model(*later[:-1])[:, there].contiguous(), own) - loss_fn(output[:, there].contiguous(), own))
        return loss_fn(output, target) + torch.stack(rises).nanmean()  # at some places every target may be ignored

    variant.judge = judge


def _read_future(arm: Arm, unchanged: Arm, other: Arm, left: Callable[[float | None], float]) -> tuple[str, bool]:
    apart, own = left(arm.loss), left(unchanged.loss_at(arm.steps))
    if apart >= own + _TELLS:
        return "with the tokens that follow exchanged a token is predicted worse: the loss comes from the future", True
    if apart == own:
        return "with the tokens that follow exchanged a token is predicted as well: the future is not used", False
    return "with the tokens that follow exchanged a token is predicted hardly worse after these steps", False


CONTROLS = named(
    Intervention(
        name="labels_permuted",
        change="labels exchanged between examples",
        applies=lambda variant: pairs(variant) and variant.task.target != "" and not _goes_together(variant),
        make=_permuted,
        answers=("shuffled_labels",),
        reading=_read_permuted,
        beside="left_out",
    ),
    Intervention(
        name="left_out",
        change="judged by examples that it was not trained on",
        applies=lambda variant: _split(variant) is not None,
        make=_without_some,
        reading=_read_left_out,
    ),
    Intervention(
        name="future_exchanged",
        change="judged with the tokens that follow exchanged between examples",
        applies=lambda variant: _next_tokens(variant) is not None,
        make=_future_exchanged,
        answers=("sees_future",),
        reading=_read_future,
    ),
)
