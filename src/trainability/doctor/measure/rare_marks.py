"""Marks of 0 and 1 at many places of each example, few of which are 1, under a loss that counts all alike."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.batches import tensors
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.readings import RareMarks

_RARE, _ERRORS = 0.05, 2.0  # share of the places; standard errors over examples, that are added to it
_FEWEST_PLACES, _FEWEST_EXAMPLES, _MOST_BATCHES = 8, 16, 16  # of an example; of all batches that are read
_SAME = 1e-3  # of a loss
_LAST = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def rare_marks(
    model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], seen: ForwardPass, batches: Iterable[Any]
) -> RareMarks | None:
    """Count the places that are 1 in the targets of a binary cross-entropy.

    Args:
        model: in train mode, with dropout off.
        batch: on its device.
        forward: of (model, batch), the loss.
        seen: a pass with the batch.
        batches: of the training loader, of which some are read.

    Returns:
        The share, where it is a twentieth or less. None where places are more; where the loss weighs them, has another term, or
        is another one; where the model is given the targets, as an autoencoder is; where an example has one place, or columns
        with a row of weights each, such as tags; and where all examples have as many places that are 1, such as one right
        candidate among wrong ones.
    """
    marks = seen.marks
    if marks is None or seen.marked is None or seen.weighs_examples or not _are_marks(marks):
        return None
    names = [name for name, own in seen.batch if own.numel() == marks.numel() and _is_same(own, marks)]
    is_input = any(own.numel() == marks.numel() and _is_same(own, marks) for own in seen.inputs if isinstance(own, Tensor))
    if not names or is_input or not _is_whole_loss(seen.marked, marks, forward, model, batch):
        return None
    if not _has_one_output(model, batch, forward, marks.numel()):
        return None
    shares = _shares(batches, names[0])
    if shares is None or len(shares) < _FEWEST_EXAMPLES or bool((shares == shares[0]).all()):
        return None
    mean, error = float(shares.mean()), float(shares.std() / len(shares) ** 0.5)
    if not 0 < mean <= mean + _ERRORS * error <= _RARE:
        return None
    is_of_logits = seen.marked[0].endswith("with_logits")
    return RareMarks(share=mean, num_examples=len(shares), num_places=marks[0].numel(), is_of_logits=is_of_logits)


def _are_marks(given: Tensor) -> bool:
    return given.dim() > 1 and given[0].numel() >= _FEWEST_PLACES and bool(((given == 0) | (given == 1)).all())


def _is_same(own: Tensor, marks: Tensor) -> bool:
    return not own.is_complex() and bool((own.detach().float().flatten() == marks.detach().float().flatten()).all())


def _is_whole_loss(
    marked: tuple[str, Tensor], marks: Tensor, forward: Callable[[Any, Any], Tensor], model: nn.Module, batch: Any
) -> bool:
    """Whether the loss is the mean over all places, or the sum over those of an example or of all."""
    name, output = marked
    if output.shape != marks.shape:
        return False
    with randomness_restored(), torch.no_grad():
        torch.manual_seed(0)
        loss = float(forward(model, batch).sum())
        asked = F.binary_cross_entropy_with_logits if name.endswith("with_logits") else F.binary_cross_entropy
        mean = float(asked(output.detach().float(), marks.detach().float()))
    return any(abs(loss - count * mean) <= _SAME * abs(loss) for count in (1, marks[0].numel(), marks.numel()))


def _has_one_output(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], count: int) -> bool:
    """Whether a layer with one output makes as many numbers as there are places."""
    made: dict[nn.Module, int] = {}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        made[module] = made.get(module, 0) + (output.numel() if isinstance(output, Tensor) else 0)

    lasts = [m for m in model.modules() if isinstance(m, _LAST) and _num_outputs(m) == 1]
    hooks = [module.register_forward_hook(note) for module in lasts]
    try:
        with randomness_restored(), torch.no_grad():
            torch.manual_seed(0)
            forward(model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return count in made.values()


def _num_outputs(module: nn.Module) -> int:
    return int(getattr(module, "out_features", 0) or getattr(module, "out_channels", 0))


def _shares(batches: Iterable[Any], name: str) -> Tensor | None:
    """Of each example of some batches, the share of its places that are 1."""
    shares: list[Tensor] = []
    with randomness_restored(), generators_restored(batches):
        for batch in itertools.islice(batches, _MOST_BATCHES):
            found = dict(tensors(batch)).get(name)
            if found is None or not _are_marks(found):
                return None
            shares.append(found.detach().double().flatten(1).mean(dim=1).cpu())
    return torch.cat(shares) if shares else None
