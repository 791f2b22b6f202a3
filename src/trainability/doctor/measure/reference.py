"""The reference, some batches of a rehearsal: their loss and outputs between its steps, and the task that they show."""

from functools import partial
from typing import Any

from trainability.doctor.batches import tensors
from trainability.doctor.measure.exits import loss_or_exit
from trainability.doctor.measure.last_part import heads_of
from trainability.doctor.measure.loop import Loop
from trainability.doctor.measure.loss_number import scalar
from trainability.doctor.measure.randomness import randomness_restored, set_random_state
from trainability.doctor.rehearsed import Observation, Task
from trainability.doctor.tasks import recognise


def first_look(loop: Loop, reference: Any, alone: Any, state: dict[str, Any]) -> tuple[Any, list[Observation]]:
    """Look at the reference, or at one batch `alone` where several cannot go through the model together."""
    try:
        look = observe(loop, reference, state, 0)
    except Exception:  # a hidden state, or a length, of the batch's own size
        if alone is None:
            raise
        reference, look = alone, observe(loop, alone, state, 0)
    if loop.output is None and (heads := heads_of(loop, reference, state)):
        loop.answers_by(heads[-1])
        look = observe(loop, reference, state, 0)
    return reference, [look]


def observe(loop: Loop, reference: Any, state: dict[str, Any], step: int) -> Observation:
    """The loss on the reference and the scale of the outputs, with the same random numbers each time.

    Args:
        loop: as it is after some steps.
        reference: a batch.
        state: of the random numbers.
        step: the number of steps made.
    """
    loop.output = None
    with randomness_restored():
        set_random_state(state)
        loss = float(loss_or_exit(partial(loop.loss, reference, afresh=True)))
    output = loop.output
    if output is None or not output.is_floating_point() or output.dim() == 0 or len(output) < 2:
        return Observation(step=step, loss=loss)
    values = output.detach().double()
    return Observation(
        step=step,
        loss=loss,
        output_rms=float(values.square().mean().sqrt()),
        output_spread=float(values.std(dim=0, correction=0).square().mean().sqrt()),
    )


def task_of(loop: Loop, reference: Any, loss: float, state: dict[str, Any]) -> Task:
    """Recognised by the loss, on one more pass with its graph where there was none: only that tells what made the outputs."""
    if loop.forward_only is not None:
        with randomness_restored(), loop.undisturbed(afresh=True):
            set_random_state(state)
            loss = float(scalar(loop.forward_only(loop.model, reference)).detach())
    # Targets come last in tuples, and go by the name of labels in dicts; an autoencoder's is its input.
    found = list(tensors(reference))[::-1]
    found.sort(key=lambda item: "label" not in item[0])
    return recognise(loop.output, found, loss)
