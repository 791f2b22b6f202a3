"""Changes of what the loop reads: scales, shapes and order of inputs and targets."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.batches import batch_size, fit_together, joined, map_parts, tensors
from trainability.doctor.experiments.function_changes import spreads, without_spreading
from trainability.doctor.experiments.intervention import Intervention, named
from trainability.doctor.experiments.variant import Variant

_FAR_FROM_STANDARD = 2.0


def exchanged(batch: Any, change: Callable[[str, Tensor], Tensor]) -> Any:
    """A batch with its tensors replaced by what `change` makes of each and its path."""
    paths = {id(tensor): path for path, tensor in tensors(batch)}

    def replaced(part: Any) -> Any:
        return change(paths[id(part)], part) if isinstance(part, Tensor) else map_parts(part, replaced)

    return replaced(batch)


def _input(variant: Variant) -> str | None:
    """Path of the first floating-point tensor of two or more dimensions that is not the target."""
    for path, tensor in tensors(variant.batches[0]):
        if tensor.is_floating_point() and tensor.dim() >= 2 and path != variant.task.target:
            return path
    return None


def _channels(values: Tensor) -> Tensor:
    """Rows of what is standardised together: columns of a table, channels of images, features of series."""
    width = 1 if values.dim() in (2, 4, 5) else -1
    return values.movedim(width, -1).flatten(0, -2).double()


def _moments(batches: Sequence[Any], path: str) -> tuple[Tensor, Tensor]:
    rows = torch.cat([_channels(dict(tensors(batch))[path]) for batch in batches[:64]])
    std = rows.std(dim=0, correction=0)
    return rows.mean(dim=0), torch.where(std > 0, std, torch.ones_like(std))


def _scaled(values: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    width = 1 if values.dim() in (2, 4, 5) else values.dim() - 1
    shape = [-1 if place == width else 1 for place in range(values.dim())]
    mean, std = mean.to(values.device).reshape(shape), std.to(values.device).reshape(shape)
    return ((values.double() - mean) / std).to(values.dtype)


def _is_only_read(variant: Variant, path: str) -> bool:
    """Whether a step of the program's own cannot compare its outputs with the inputs, as an autoencoder's does.

    Its loss would not be comparable with that of other inputs. What is first in a batch of several, and has another shape than
    the outputs, is read by the model and nothing else.
    """
    parts, output = dict(tensors(variant.reference)), variant.output
    if output is None or output.dim() < 1 or len(parts) < 2 or path != next(iter(parts)) or len(output) != len(parts[path]):
        return False
    return output.shape[1:].numel() != parts[path].shape[1:].numel()


def _inputs_far(variant: Variant) -> bool:
    path = _input(variant)
    if path is None or not (variant.is_plain or variant.task.target or _is_only_read(variant, path)):
        return False
    try:
        mean, std = _moments(variant.batches, path)
    except (KeyError, RuntimeError):
        return False
    far = (mean.abs() > std.clamp_min(1e-30)) | (std > _FAR_FROM_STANDARD) | (std < 1 / _FAR_FROM_STANDARD)
    return bool(far.any())


def _standard_inputs(variant: Variant) -> None:
    path = _input(variant)
    assert path is not None
    mean, std = _moments(variant.batches, path)

    def change(place: str, tensor: Tensor) -> Tensor:
        return _scaled(tensor, mean, std) if place == path else tensor

    variant.batches = [exchanged(batch, change) for batch in variant.batches]
    variant.reference = exchanged(variant.reference, change)


def _regresses(variant: Variant) -> bool:
    """Whether the last of a tuple is what numbers are fitted to."""
    batch = variant.batches[0]
    fits = variant.is_plain and variant.task.kind == "regression" and isinstance(batch, tuple | list)
    return fits and variant.task.target == f"[{len(batch) - 1}]" and isinstance(batch[-1], Tensor)


def _targets_far(variant: Variant) -> bool:
    if not _regresses(variant):
        return False
    targets = torch.cat([batch[-1].flatten() for batch in variant.batches[:64]]).double()
    return not 1 / _FAR_FROM_STANDARD < float(targets.std()) < _FAR_FROM_STANDARD or abs(float(targets.mean())) > 1


def _standard_targets(variant: Variant) -> None:
    """Trains on standardised targets; judged in the units of the program, outputs scaled back."""
    targets = torch.cat([batch[-1].flatten() for batch in variant.batches[:64]]).double()
    mean, std, loss_fn = float(targets.mean()), float(targets.std()), variant.loss_fn
    assert loss_fn is not None
    variant.loss_fn = lambda output, target: loss_fn(output, ((target.double() - mean) / std).to(target.dtype))

    def judge(model: Any, batch: Any) -> Tensor:
        *inputs, target = batch
        return loss_fn(model(*inputs) * std + mean, target)

    variant.judge = judge


def _is_broadcast(variant: Variant) -> bool:
    facts = variant.evidence.facts
    wide = facts is not None and facts.broadcast_shape is not None
    output, batch = variant.output, variant.batches[0]
    if not wide or not variant.is_plain or output is None or not isinstance(batch[-1], Tensor):
        return False
    target = dict(tensors(variant.reference)).get(f"[{len(batch) - 1}]")
    return target is not None and target.numel() == output.numel() and target.shape != output.shape


def _shaped_targets(variant: Variant) -> None:
    if not _is_broadcast(variant):
        without_spreading(variant)
        return
    loss_fn = variant.loss_fn
    assert loss_fn is not None
    variant.loss_fn = lambda output, target: loss_fn(output, target.reshape(output.shape))


def pairs(variant: Variant) -> bool:
    first = variant.batches[0]
    return batch_size(first) is not None and len(variant.batches) > 1 and fit_together([first, first])


def alike(variant: Variant) -> list[Any]:
    """The batches that are of one form with the first."""
    return [batch for batch in variant.batches if fit_together([variant.batches[0], batch])]


def cut(variant: Variant, examples: Any) -> list[Any]:
    """Examples in batches as large as the first one is."""
    size, width = batch_size(examples) or 0, batch_size(variant.batches[0]) or 1
    starts = range(0, size - width + 1, width)
    return [exchanged(examples, lambda path, tensor, at=at: tensor[at : at + width]) for at in starts]


def rearranged(variant: Variant, order: Callable[[int], Tensor], *, only: str | None) -> list[Any]:
    """The batches with examples (or only the tensor of one path) in another order."""
    examples = joined(alike(variant))
    size = batch_size(examples)
    assert size is not None
    place = order(size)
    mixed = exchanged(examples, lambda path, tensor: tensor[place.to(tensor.device)] if only in (None, path) else tensor)
    return cut(variant, mixed)


def _shuffled(variant: Variant) -> None:
    generator = variant.generator()
    variant.batches = rearranged(variant, lambda size: torch.randperm(size, generator=generator), only=None)


DATA_CHANGES = named(
    Intervention(
        name="target_shape",
        change="targets in the shape of the outputs",
        applies=lambda variant: _is_broadcast(variant) or spreads(variant),
        make=_shaped_targets,
        answers=("target_broadcast",),
    ),
    Intervention(
        name="inputs_standard",
        change="inputs standardised per channel or column",
        applies=_inputs_far,
        make=_standard_inputs,
        answers=("input_scale", "gain_budget_low.input", "gain_budget_high.input", "not_finite", "exploding_gradient"),
    ),
    Intervention(
        name="targets_standard",
        change="targets standardised",
        applies=_targets_far,
        make=_standard_targets,
        answers=("target_scale", "not_finite", "exploding_gradient"),
    ),
    Intervention(
        name="shuffled",
        change="examples in random order",
        applies=pairs,
        make=_shuffled,
        answers=("class_order", "repeated_batch"),
    ),
)
