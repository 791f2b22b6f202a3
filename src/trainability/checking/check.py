"""`check` for any training code: probe, audits, rehearsal and diagnosis in one call."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from trainability.checking.asked_metric import asked_metric
from trainability.checking.default_loss import check_default_loss
from trainability.checking.failures import MODEL, failed_part
from trainability.checking.first_batch import first_batch, with_both_labels, with_inputs_in_parts
from trainability.checking.maximised import minimised
from trainability.doctor import Diagnosis, Evidence, audit_data, diagnose
from trainability.doctor.arguments import with_near_names
from trainability.doctor.audit_results import DataAudit, Relation
from trainability.doctor.batches import batch_size, first_examples, first_tensor, tensors, to_device
from trainability.doctor.error_line import error_line, error_place, is_deliberate, is_raised_here
from trainability.doctor.evidence import OptimizerSettings, ProbeResult
from trainability.doctor.facts import Facts
from trainability.doctor.joining import with_rehearsed_updates
from trainability.doctor.measure.body_facts import facts_of_body
from trainability.doctor.measure.certain import MAX_EXAMPLES, facts_of
from trainability.doctor.measure.handed_over import handed_over
from trainability.doctor.measure.held_out import with_held_out
from trainability.doctor.measure.kernels import kernels_not_searched
from trainability.doctor.measure.late_peak import try_late_peak
from trainability.doctor.measure.mirrored import with_mirrored
from trainability.doctor.measure.nested import modules
from trainability.doctor.measure.nonfinite import first_nonfinite
from trainability.doctor.measure.optimizer_settings import settings_if_any
from trainability.doctor.measure.other_rates import rehearse_with_other_rates, try_for_remedy, try_raised_clip
from trainability.doctor.measure.probe import NoWayBackError, probe, probe_step
from trainability.doctor.measure.put_back import variables_put_back
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.relation import beside_held_out
from trainability.doctor.measure.scale_blind import with_scale
from trainability.doctor.measure.shuffled_apart import with_held_out_pairs
from trainability.doctor.measure.sizes import MAX_AUDIT_IMAGES, audit_size, probe_size
from trainability.doctor.measure.stored_batches import copied_batches
from trainability.doctor.measure.unusable import check_numbers_of
from trainability.doctor.measure.without_decay import try_without_decay
from trainability.doctor.measure.written_data import overwritten, with_overwritten
from trainability.doctor.reading import plateau_ends
from trainability.doctor.rehearsed import Rehearsal
from trainability.doctor.rules.clip import clips_to_nothing
from trainability.doctor.rules.verdict import NO_OPTIMIZER
from trainability.doctor.setup import Setup
from trainability.doctor.told import told
from trainability.prescribe.remedies import asks_for_a_rate, prescribed

_PAIRS, _MOST_BATCHES = 256, 16  # examples, and batches, in which pairs are compared


@with_near_names
def check(
    model: Any,
    train_loader: Iterable[Any] | None = None,
    loss_fn: Callable[[Any, Any], Tensor] | None = None,
    optimizer: Any = None,
    *,
    training_step: Callable[[Any, Any], Any] | None = None,
    step: Callable[[Any, Any, Any], Any] | None = None,
    scheduler: Any = None,
    scheduler_interval: Literal["step", "epoch"] | None = None,
    val_loader: Iterable[Any] | None = None,
    metric: Any = None,
    num_classes: int | None = None,
    clip: float | None = None,
    planned_steps: int | None = None,
    rehearse_seconds: float | None = 10.0,
) -> Diagnosis:
    """Predict in seconds whether training will work, before it starts, and what to change.

    Rehearses some steps of the loop on a copy. Where batches are (input, label), examines one forward and backward pass, and
    images and labels of both loaders; and the metric. Model, optimizer, gradients, buffers and random state are restored.

    Args:
        model: a module, or a dict, tuple or list of several; or a `Setup` of the whole program, and nothing else.
        train_loader: yields batches, as the loop will see them.
        loss_fn: of (output, labels), one number; `None` takes cross-entropy, unless one of the next two is given.
        optimizer: over the model's parameters, or several, as `model`; `None` leaves out the rehearsal, update ratios and the
            predicted plateau. Of one with `maximize=True`, minus its value is the loss.
        training_step: of (model, batch): the loss, without backward and optimizer step.
        step: of (model, optimizer, batch): the whole body of the loop; returns the loss.
        scheduler: of the learning rate; `step`, where it is given, steps it itself.
        scheduler_interval: when the loop steps it: `"step"` or `"epoch"`; `None` if that is not known.
        val_loader: as `train_loader`; `None` if there is none.
        metric: a function of a list of (logits, labels) batches, an object with `update` and `compute`, or a function of one
            (logits, labels); it is asked questions whose answers are known. `None` leaves it out.
        num_classes: number of classes.
        clip: `max_norm` of the loop's gradient clipping; `None` for no clipping.
        planned_steps: updates of the whole run.
        rehearse_seconds: time for the rehearsal, and as much again where its remedy, or a schedule's later peak, is tried; 0
            or `None` leaves it out.

    Returns:
        The diagnosis; print it, or pass it to `Monitor(..., before=...)`.

    Raises:
        ValueError: it cannot be looked at: an empty loader, a model that does not take its batches, a loss that is not one
            number, a step that fails; one line that says which.
    """
    if isinstance(model, Setup):
        beside = (train_loader, loss_fn, optimizer, training_step, step, scheduler, val_loader, metric, num_classes, clip)
        if any(part is not None for part in (*beside, planned_steps, scheduler_interval)):
            raise ValueError("a Setup holds the whole program; put the other arguments into it (dataclasses.replace)")
        return check_setup(model)
    if inspect.isfunction(model) and train_loader is None:
        in_shell = f"trainability check {model.__module__ if model.__module__ != '__main__' else 'MODULE'}:{model.__name__}"
        raise ValueError(
            f"model is {told(model)}; call it if it returns a Setup, check({model.__name__}()), or use {in_shell} in a shell"
        )
    return check_setup(
        Setup(
            model=model,
            train_loader=cast("Iterable[Any]", train_loader),  # None is refused
            loss_fn=loss_fn,
            training_step=training_step,
            step=step,
            val_loader=val_loader,
            optimizer=optimizer,
            scheduler=scheduler,
            scheduler_interval=scheduler_interval,
            metric=metric,
            num_classes=num_classes,
            clip=clip,
            planned_steps=planned_steps,
            rehearse_seconds=rehearse_seconds,
        )
    )


def check_setup(setup: Setup) -> Diagnosis:
    """Check a `Setup` before training.

    Raises:
        ValueError: it cannot be looked at: an empty loader, a model that does not take its batches, a loss that is not
            one number, a step that fails; one line that says which.
    """
    check_numbers_of(setup.optimizer)
    given, setup = setup, minimised(setup)
    maximises = setup is not given
    train, held_out = copied_batches(setup.train_loader), copied_batches(setup.val_loader)
    setup = dataclasses.replace(setup, train_loader=train, val_loader=held_out)
    with (
        randomness_restored(),
        generators_restored(setup.train_loader),
        generators_restored(setup.val_loader),
        kernels_not_searched(),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", UserWarning)  # what PyTorch says of a shape once is what the findings are about
        return _checked(setup, maximises=maximises)


def _checked(setup: Setup, *, maximises: bool) -> Diagnosis:
    began, written = time.monotonic(), overwritten(setup.train_loader)  # before anything else reads
    first, train = first_batch(setup)
    check_default_loss(setup, first)
    if setup.step is not None and not is_pair(first):
        setup = dataclasses.replace(setup, loss_fn=None)  # it is for pairs; what the loop does is in its step
    setup = with_inputs_in_parts(setup, first)
    problems: list[str] = []
    with variables_put_back(setup.training_step, setup.loss):
        looked, images = _probed(setup, first, problems)
    data = _audited(setup, first, train, problems)
    plateau = plateau_ends(looked) if looked is not None else None
    is_explained = data is not None and diagnose(data).verdict == "broken data"
    held_out = setup.val_loader if data is None or data.labels_compared is None else None
    rehearsal = _rehearsed(setup, train, plateau, problems, is_explained=is_explained, held_out=held_out)
    relation = _relation(train, setup.val_loader, rehearsal, problems)
    target = rehearsal.task.target if rehearsal is not None else ""
    facts = with_overwritten(
        with_held_out(_facts(setup, with_both_labels(first, train), train), train, setup.val_loader, target), written
    )
    facts = with_mirrored(with_scale(facts, setup.whole_model, first, data), train, setup.val_loader)
    facts = with_held_out_pairs(facts, setup.val_loader)
    facts = dataclasses.replace(facts, maximises=True) if facts is not None and maximises else facts
    task, width = rehearsal.task if rehearsal is not None else None, looked.num_logits if looked is not None else None
    metric = asked_metric(setup, first, facts, task, width, problems) if setup.metric else None
    evidence = Evidence(
        probe=with_rehearsed_updates(looked, rehearsal),
        data=data,
        relation=relation,
        facts=facts,
        metric=metric,
        num_classes=setup.num_classes,
        optimizer=_settings(setup) if looked is None else None,
        rehearsal=rehearsal,
        problems=tuple(problems),
    )
    diagnosis = diagnose(evidence)
    if (located := _located(setup, evidence)) is not None:
        evidence = dataclasses.replace(evidence, rehearsal=located)
        diagnosis = diagnose(evidence)
    if clips_to_nothing(evidence) and (raised := _raised_clip(setup, evidence, began)) is not None:
        evidence = dataclasses.replace(evidence, rehearsal=raised)
        diagnosis = diagnose(evidence)
    if (
        all(found.severity == "hint" for found in diagnosis.findings)
        and (lighter := _without_decay(setup, evidence, began)) is not None
    ):
        evidence = dataclasses.replace(evidence, rehearsal=lighter)
        diagnosis = diagnose(evidence)
    tried = (_tried_rates if asks_for_a_rate(diagnosis) else _tried_peak)(setup, evidence, began)
    if tried is not None:
        diagnosis = diagnose(dataclasses.replace(evidence, rehearsal=tried))
    return prescribed(diagnosis, setup.model, images, plan=None) if images is not None else diagnosis


def _facts(setup: Setup, first: Any, train: Iterable[Any]) -> Facts | None:
    """Certain facts; of a loop that is known as a whole only, or has several models, those that one step shows."""
    model = setup.whole_model
    knows_loss = model is not None and (setup.training_step is not None or setup.loss is not None)
    if setup.step is not None and (len(modules(setup.model)) > 1 or not knows_loss):
        step, optimizer = handed_over(setup.model, setup.optimizer, setup.step) or (setup.step, setup.optimizer)
        return facts_of_body(setup.model, first, step=step, optimizer=optimizer, batches=train)
    if model is None or not knows_loss:
        return None
    optimizer, more = setup.single_optimizer, ()
    if setup.training_step is not None and isinstance(first, tuple | list):  # pairs, or targets that it makes
        wanted = -(-_PAIRS // max(batch_size(first) or _PAIRS, 1))
        more = tuple(itertools.islice(train, 1, min(wanted, _MOST_BATCHES)))
    words = {"loss_fn": setup.loss, "training_step": setup.training_step, "optimizer": optimizer}
    return facts_of(model, first, more=more, batches=train, **words)


def is_pair(batch: Any) -> bool:
    """Whether a batch is (input, label), the input one tensor: what probe and audits take."""
    return isinstance(batch, tuple | list) and len(batch) == 2 and isinstance(batch[0], Tensor)


def _probed(setup: Setup, first: Any, problems: list[str]) -> tuple[ProbeResult | None, Tensor | None]:
    """The probe and the images that it looked at; None where the program is not (input, label)-shaped."""
    model, loss_fn = setup.whole_model, setup.loss
    if model is not None and setup.training_step is not None:
        return _probed_step(setup, model, first, problems)
    if model is None or loss_fn is None or not is_pair(first):
        why = "several models" if model is None else "loss_fn is not given" if loss_fn is None else "batches are not pairs"
        way = "a probe takes one model, and (input, label) with loss_fn, or training_step"
        problems.append(f"the start, layer by layer: {why}; {way}")
        return None, None
    images, labels = first
    parameter = next(model.parameters(), None)
    device = parameter.device if parameter is not None else images.device
    paired = isinstance(labels, Tensor) and labels.dim() > 0 and len(labels) == len(images)
    size = min(len(images), probe_size(model, tuple(images.shape[1:]), device)) if paired else len(images)
    optimizer, clip, planned = setup.single_optimizer, setup.clip, setup.planned_steps
    error: Exception | None = None
    for count in dict.fromkeys((size, len(images))):  # of a graph's nodes, a few make no batch
        some, of_them = (part[:count].to(device) if paired else to_device(part, device) for part in first)
        try:
            return probe(model, loss_fn, some, of_them, optimizer=optimizer, clip=clip, planned_steps=planned), some
        except NoWayBackError:  # the rehearsal counts it, and a finding says where the path ends
            problems.append("the start, layer by layer: no gradient of the loss reaches a parameter")
            return None, None
        except Exception as raised:
            error = error or raised
    assert error is not None
    part = failed_part(error, setup) or MODEL
    what = f"{part} failed" + (f" on inputs of shape {tuple(images[:size].shape)}" if part == MODEL else "")
    problems.append(_note_or_raise(setup, "the start, layer by layer", what, error))
    return None, None


def _note_or_raise(setup: Setup, topic: str, what: str, error: Exception) -> str:
    """The line that says what could not be looked at, where a function of the user's own runs model and batches as it likes,
    or where what failed is a measurement.

    Raises:
        ValueError: where none does: the loop would fail as well.
    """
    if setup.training_step or setup.step:
        return f"{topic}: {error_line(error)}"
    if is_raised_here(error):
        if isinstance(error, ValueError) and is_deliberate(error):
            raise error
        return f"{topic}: {error_line(error)}"
    raise ValueError(f"{what}: {error_place(error)}") from error


def _probed_step(setup: Setup, model: nn.Module, first: Any, problems: list[str]) -> tuple[ProbeResult | None, Tensor | None]:
    """The same through the training step; a batch of another size is tried first where the whole one is slow."""
    assert setup.training_step is not None
    parameter, example = next(model.parameters(), None), first_tensor(first)
    device = parameter.device if parameter is not None else torch.device("cpu")
    size = probe_size(model, tuple(example.shape[1:]), device) if example is not None and example.dim() else MAX_EXAMPLES
    settings = {"optimizer": setup.single_optimizer, "clip": setup.clip, "planned_steps": setup.planned_steps}
    error: Exception | None = None
    for batch in (first_examples(first, min(size, MAX_EXAMPLES)), first):
        batch = to_device(batch, device)
        try:
            result = probe_step(model, setup.training_step, batch, **settings)
        except Exception as raised:
            error = error or raised
            continue
        images = next((t for _, t in tensors(batch) if tuple(t.shape) == result.input_shape and t.is_floating_point()), None)
        return result, images
    assert error is not None
    problems.append(f"the start, layer by layer: {error_line(error)}")
    return None, None


def _audited(setup: Setup, first: Any, train: Iterable[Any], problems: list[str]) -> DataAudit | None:
    if not is_pair(first):
        problems.append("data: batches are not (inputs, labels)")
        return None
    audited = min(MAX_AUDIT_IMAGES, audit_size(tuple(first[0].shape[1:])))
    try:
        return audit_data(train, setup.val_loader, num_classes=setup.num_classes, max_images=audited, redraw=True)
    except Exception as error:
        problems.append(_note_or_raise(setup, "data", "a loader failed", error))
        return None


def _relation(train: Iterable[Any], held_out: Any, rehearsal: Rehearsal | None, problems: list[str]) -> Relation | None:
    try:
        return beside_held_out(train, held_out, rehearsal.task.target if rehearsal is not None else "")
    except Exception as error:
        problems.append(f"targets against inputs: {error_line(error)}")
        return None


def _rehearsed(
    setup: Setup,
    train: Iterable[Any],
    plateau_steps: float | None,
    problems: list[str],
    *,
    is_explained: bool,
    held_out: Iterable[Any] | None,
) -> Rehearsal | None:
    if not setup.rehearse_seconds:
        problems.append("some steps of the loop: not rehearsed (rehearse_seconds=10)")
        return None
    if setup.optimizer is None and setup.step is None:
        problems.append(NO_OPTIMIZER)
        return None
    try:
        return rehearse_with_other_rates(
            setup.model,
            setup.optimizer,
            train,
            seconds=setup.rehearse_seconds,
            plateau_steps=plateau_steps,
            held_out=held_out,
            **_loop_of(setup),
        )
    except Exception as error:
        if (setup.step or setup.training_step) and not is_explained:  # labels out of range fail in every step
            name = "step(model, optimizer, batch)" if setup.step else "training_step(model, batch)"
            raise ValueError(f"{name} failed: {error_place(error)}") from error
        problems.append(f"some steps of the loop: the rehearsal failed ({error_line(error)})")
        return None


def _loop_of(setup: Setup) -> dict[str, Any]:
    """What a rehearsal is told of the loop."""
    names = ("training_step", "step", "scheduler", "scheduler_interval", "clip", "planned_steps")
    return {"loss_fn": setup.loss, **{name: getattr(setup, name) for name in names}}


def _located(setup: Setup, evidence: Evidence) -> Rehearsal | None:
    """The rehearsal with the function whose result was not finite; None where all were, or it was not found."""
    rehearsal, probe = evidence.rehearsal, evidence.probe
    if rehearsal is None or not setup.rehearse_seconds:
        return None
    norms = [step.gradient_norm for step in rehearsal.steps if step.gradient_norm is not None]
    at_probe = probe is not None and not (math.isfinite(probe.loss) and math.isfinite(probe.gradient_norm))
    if not at_probe and rehearsal.ended_by != "not finite" and all(map(math.isfinite, norms)):
        return None
    # A loader that shuffles draws other batches now, which may come to the same function later, as a rare example comes.
    steps, seconds = max(4 * len(rehearsal.steps), 200), setup.rehearse_seconds / 2
    try:
        found = first_nonfinite(
            setup.model, setup.optimizer, setup.train_loader, max_steps=steps, seconds=seconds, **_loop_of(setup)
        )
    except Exception:  # what cannot be copied or watched is diagnosed without the line
        return None
    return dataclasses.replace(rehearsal, nonfinite=found) if found is not None else None


def _tried_rates(setup: Setup, evidence: Evidence, began: float) -> Rehearsal | None:
    """The rehearsal with rates that a remedy may propose, in what is left of twice its time."""
    if not setup.rehearse_seconds or evidence.rehearsal is None:
        return None
    left = 2 * setup.rehearse_seconds - (time.monotonic() - began)
    return try_for_remedy(evidence, setup.model, setup.optimizer, setup.train_loader, seconds=left, **_loop_of(setup))


def _tried_peak(setup: Setup, evidence: Evidence, began: float) -> Rehearsal | None:
    """The rehearsal with smaller peaks of its schedule, where that comes later, in what is left of twice its time."""
    if not setup.rehearse_seconds or evidence.rehearsal is None:
        return None
    left = 2 * setup.rehearse_seconds - (time.monotonic() - began)
    return try_late_peak(evidence.rehearsal, setup.model, setup.optimizer, setup.train_loader, seconds=left, **_loop_of(setup))


def _raised_clip(setup: Setup, evidence: Evidence, began: float) -> Rehearsal | None:
    """The rehearsal with a higher threshold for its gradients beside it, in what is left of twice its time."""
    if not setup.rehearse_seconds or evidence.rehearsal is None:
        return None
    left = 2 * setup.rehearse_seconds - (time.monotonic() - began)
    return try_raised_clip(
        evidence.rehearsal, setup.model, setup.optimizer, setup.train_loader, seconds=left, **_loop_of(setup)
    )


def _without_decay(setup: Setup, evidence: Evidence, began: float) -> Rehearsal | None:
    """The rehearsal with what a very strong weight decay costs, in what is left of twice its time."""
    if not setup.rehearse_seconds or evidence.rehearsal is None:
        return None
    left = 2 * setup.rehearse_seconds - (time.monotonic() - began)
    told = {"seconds": left, **_loop_of(setup)}
    return try_without_decay(evidence.rehearsal, setup.model, setup.optimizer, setup.train_loader, setup.val_loader, **told)


def _settings(setup: Setup) -> OptimizerSettings | None:
    optimizer: torch.optim.Optimizer | None = setup.single_optimizer
    if optimizer is None or len(modules(setup.model)) != 1:
        return None
    return settings_if_any(
        optimizer,
        modules(setup.model)[0],
        clip=setup.clip,
        planned_steps=setup.planned_steps,
        steps_alone=setup.step is None,
    )
