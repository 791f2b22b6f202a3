"""`check` for any training code: probe, audits and diagnosis in one call."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Diagnosis, Evidence, audit_data, audit_metric, diagnose
from trainability.doctor.measure.audits import unpacked
from trainability.doctor.measure.probe import probe
from trainability.doctor.measure.sizes import MAX_AUDIT_IMAGES, audit_size, probe_size
from trainability.doctor.setup import Setup
from trainability.prescribe.remedies import prescribed


def check(
    model: nn.Module,
    train_loader: Iterable[Any],
    loss_fn: Callable[[Any, Tensor], Tensor] = F.cross_entropy,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    val_loader: Iterable[Any] | None = None,
    metric: Any = None,
    num_classes: int | None = None,
    clip: float | None = None,
    planned_steps: int | None = None,
) -> Diagnosis:
    """Predict in seconds whether training will work, before it starts, and what to change.

    Examines one forward and backward pass, images and labels of both loaders, and the metric. Model, gradients, buffers and
    random state are restored.

    Args:
        model: takes a batch of images, returns logits or whatever `loss_fn` takes.
        train_loader: yields (images, labels), as in the training loop.
        loss_fn: (output, labels) -> a scalar.
        optimizer: over the model's parameters; without it there are no update ratios and no predicted plateau.
        val_loader: as `train_loader`; `None` if there is none.
        metric: see `audit_metric`; `None` skips its audit.
        num_classes: number of classes.
        clip: `max_norm` of the loop's gradient clipping; `None` for no clipping.
        planned_steps: updates of the whole run.

    Returns:
        The diagnosis; print it, or pass it to `Monitor(..., before=...)`.

    Raises:
        ValueError: the setup cannot be checked: a loader is empty, the model fails on its batches, or the loss is not a
            scalar; the message says which.
    """
    return check_setup(
        Setup(
            model=model,
            train_loader=train_loader,
            loss_fn=loss_fn,
            val_loader=val_loader,
            optimizer=optimizer,
            metric=metric,
            num_classes=num_classes,
            clip=clip,
            planned_steps=planned_steps,
        )
    )


def check_setup(setup: Setup) -> Diagnosis:
    """Check a `Setup` before training.

    Raises:
        ValueError: the setup cannot be checked: a loader is empty, the model fails on its batches, or the loss is not a
            scalar; the message says which.
    """
    images, labels, train = _first_batch(setup)
    try:
        result = probe(
            setup.model,
            setup.loss_fn,
            images,
            labels,
            optimizer=setup.optimizer,
            clip=setup.clip,
            planned_steps=setup.planned_steps,
        )
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"model(images) failed on images of shape {tuple(images.shape)}: {one_line(error)}") from error
    audited = min(MAX_AUDIT_IMAGES, audit_size(tuple(images.shape[1:])))
    try:
        data = audit_data(train, setup.val_loader, num_classes=setup.num_classes, max_images=audited)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"a loader failed: {one_line(error)}") from error
    evidence = Evidence(
        probe=result,
        data=data,
        metric=audit_metric(setup.metric, max(10, result.num_logits or 0)) if setup.metric is not None else None,
        num_classes=setup.num_classes,
    )
    return prescribed(diagnose(evidence), setup.model, images, plan=None)


def _first_batch(setup: Setup) -> tuple[Tensor, Any, Iterable[Any]]:
    """Return the first batch, cut to the probe's size, on the model's device, and a loader that still yields that batch."""
    batches = iter(setup.train_loader)
    try:
        first = next(batches, None)
    except Exception as error:
        raise ValueError(f"train_loader failed: {one_line(error)}") from error
    if first is None:
        raise ValueError("train_loader is empty; expected at least one batch of (images, labels)")
    images, labels = unpacked(first, "train")
    # A loader that can be read only once is its own iterator.
    train = itertools.chain([first], batches) if batches is setup.train_loader else setup.train_loader
    parameter = next(setup.model.parameters(), None)
    device = parameter.device if parameter is not None else images.device
    if isinstance(labels, Tensor):
        size = min(len(images), probe_size(setup.model, tuple(images.shape[1:]), device))
        images, labels = images[:size], labels[:size].to(device)
    return images.to(device), labels, train


def one_line(error: BaseException) -> str:
    """Write an exception's type and the first line of its message."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
