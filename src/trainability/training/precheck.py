"""The check before the first step: a probe of the network, audits of images and metric, the first steps on a copy."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.config import RunConfig
from trainability.doctor import Evidence, audit_data, audit_metric, optimizer_settings
from trainability.doctor.error_line import error_line
from trainability.doctor.evidence import ProbeResult
from trainability.doctor.joining import with_rehearsed_updates
from trainability.doctor.measure.kernels import kernels_not_searched
from trainability.doctor.measure.probe import probe
from trainability.doctor.measure.sizes import audit_size, probe_size
from trainability.doctor.reading import plateau_ends
from trainability.models.vgg import set_dropout_keys
from trainability.training.engine import Engine

if TYPE_CHECKING:
    from trainability.data.loader import MicroBatch
    from trainability.training.parts import TrainingParts

DOOMED = ("dead", "unstable")
# Time for probe and audits; if they take longer, the rehearsal gets less.
LOOK_SECONDS = 15.0


def evidence_before(
    parts: TrainingParts,
    config: RunConfig,
    engine: Engine,
    *,
    planned_steps: int,
    not_rehearsed: str | None = None,
    run_follows: bool = False,
) -> Evidence:
    """Collect evidence before the first step; network, optimizer, gradients and random state are restored.

    Args:
        parts: of `assemble`, with the starting weights.
        config: complete.
        engine: device, precision, processes.
        planned_steps: updates of the whole run.
        not_rehearsed: the reason, if the first steps are not rehearsed.
        run_follows: the run follows, and shows later steps itself, so fewer steps are rehearsed.

    Returns:
        Evidence of probe, audits and rehearsal. An error in here is recorded as a problem and does not stop the run.
    """
    # Diagnosing a run that exists needs nothing of the lab, and a rehearsal needs its loader.
    from trainability.training.rehearsing import MOST_STEPS, STEPS_BEFORE_A_RUN, rehearse_run

    seconds = config.run.rehearse_seconds or 0.0
    deadline = time.monotonic() + LOOK_SECONDS + seconds
    shape = (3, parts.model.crop, parts.model.crop)
    found: dict[str, object] = {}
    looks = {
        "probe": lambda: _probe(parts, config, engine, planned_steps),
        "data": lambda: audit_data(
            _pairs(_train_batches(parts, epoch=0)),
            ((images, labels) for images, labels, _ in parts.loader.validation(64))
            if len(parts.loader.val_labels) and config.run.overfit_batches is None
            else None,
            num_classes=parts.loader.num_classes,
            max_images=audit_size(shape),
            again=_pairs(_train_batches(parts, epoch=1)) if _is_augmented(config) else None,
        ),
        "metric": lambda: audit_metric(lambda pairs: _metric(parts, pairs), num_classes=max(10, parts.loader.num_classes)),
        "rehearsal": lambda: rehearse_run(
            parts,
            config,
            engine,
            planned_steps=planned_steps,
            seconds=min(seconds, max(deadline - time.monotonic(), 0.0)),
            max_steps=STEPS_BEFORE_A_RUN if run_follows else MOST_STEPS,
            plateau_steps=plateau_ends(seen) if isinstance(seen := found.get("probe"), ProbeResult) else None,
        ),
    }
    without, problems = _left_out(parts, config, engine, not_rehearsed)
    looks = {name: look for name, look in looks.items() if name not in without}
    with kernels_not_searched():
        for name, look in looks.items():
            try:
                found[name] = look()
            except Exception as error:  # an error of the doctor never stops a run
                problems.append(f"{name}: the check failed ({error_line(error)})")
    evidence = Evidence(num_classes=parts.loader.num_classes, problems=tuple(problems), **found)  # type: ignore[arg-type]
    return dataclasses.replace(evidence, probe=with_rehearsed_updates(evidence.probe, evidence.rehearsal))


def _left_out(parts: TrainingParts, config: RunConfig, engine: Engine, not_rehearsed: str | None) -> tuple[set[str], list[str]]:
    """List the measurements that this run does not allow, and what the evidence lacks without them."""
    without, problems = set(), []
    if not len(parts.loader.val_labels):
        problems.append("validation: data.val-fraction leaves no validation image, so train refuses this configuration")
    if config.run.overfit_batches is not None:
        problems.append("validation data: an overfit test validates with its training images")
    if engine.is_sharded:
        without.add("probe")
        problems.append("probe: not done for a sharded network; trainability check does it in one process")
    if not config.run.rehearse_seconds:
        not_rehearsed = "--run.rehearse-seconds 10"
    elif engine.world_size > 1:
        not_rehearsed = "several processes; trainability check does it in one"
    if not_rehearsed is not None:
        without.add("rehearsal")
        problems.append(f"the first steps: not rehearsed ({not_rehearsed})")
    return without, problems


def _is_augmented(config: RunConfig) -> bool:
    data = config.data
    return bool(data.flip) or data.size != data.crop or data.jitter is not None or data.colour_shift


def _train_batches(parts: TrainingParts, *, epoch: int) -> Iterator[MicroBatch]:
    """The images of the first epoch in their order, augmented with the random draws of `epoch`."""
    return itertools.chain.from_iterable(parts.loader.steps(0, draws_of=epoch))


def _pairs(batches: Iterator[MicroBatch]) -> Iterator[tuple[Tensor, Tensor]]:
    return ((micro.images, micro.labels) for micro in batches)


def first_images(parts: TrainingParts, num: int) -> tuple[Tensor, Tensor]:
    """Return the first `num` training images and labels, as the loop gets them."""
    images, labels, count = [], [], 0
    for micro in _train_batches(parts, epoch=0):
        images.append(micro.images[: num - count])
        labels.append(micro.labels[: num - count])
        count += len(labels[-1])
        if count >= num:
            break
    return torch.cat(images), torch.cat(labels)


def _probe(parts: TrainingParts, config: RunConfig, engine: Engine, planned_steps: int) -> object:
    size = probe_size(parts.model, (3, parts.model.crop, parts.model.crop), engine.device)
    images, labels = first_images(parts, size)
    set_dropout_keys(parts.model, None)
    settings = optimizer_settings(parts.optimizer, parts.model, clip=config.optim.clip, planned_steps=planned_steps)
    # The first step's learning rate may be that of a warm-up; the plateau depends on the full learning rate.
    settings = dataclasses.replace(settings, lr=config.optim.lr)
    return probe(parts.model, F.cross_entropy, images, labels, optimizer=settings)


def _metric(parts: TrainingParts, pairs: list[tuple[Tensor, Tensor]]) -> float:
    """Compute the top-1 error of known logits with the loop's own evaluation function."""
    batches = ((logits, labels, torch.ones(len(labels))) for logits, labels in pairs)
    return parts.evaluate(nn.Identity(), batches, num_classes=pairs[0][0].shape[1], device=torch.device("cpu")).top1_error
