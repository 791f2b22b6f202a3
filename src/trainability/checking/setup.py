"""`trainability check`: the doctor on a configuration of ours, or on anybody's model, loaders, loss, optimizer and metric."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import faults
from trainability.config import RunConfig
from trainability.data import dataset
from trainability.data.loader import num_steps
from trainability.doctor import Diagnosis, Evidence, audit_data, audit_metric, diagnose
from trainability.doctor.measure.audits import unpacked
from trainability.doctor.measure.probe import probe
from trainability.training import engine as engines
from trainability.training.parts import assemble
from trainability.training.precheck import MAX_AUDIT_IMAGES, audit_size, evidence_before, first_images, prescribed, probe_size


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What `trainability check module:function` is to look at: the function returns one.

    Attributes:
        model: takes a batch of images, returns logits or whatever `loss` takes.
        train: yields (images, labels), as the loop will see them.
        loss: of (output, labels), one number.
        validation: likewise; `None` if there is none.
        optimizer: over the model's parameters; `None` leaves out update ratios and the predicted plateau.
        metric: see `audit_metric`; `None` leaves it out.
        num_classes: of the task.
        clip: gradient-norm threshold of the loop.
        planned_steps: updates of the whole run.
    """

    model: nn.Module
    train: Iterable[Any]
    loss: Callable[[Any, Tensor], Tensor] = F.cross_entropy
    validation: Iterable[Any] | None = None
    optimizer: torch.optim.Optimizer | None = None
    metric: Any = None
    num_classes: int | None = None
    clip: float | None = None
    planned_steps: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be looked at.

        Raises:
            ValueError: `model` is no module, or one without weights; `train` cannot be iterated over.
        """
        if not isinstance(self.model, nn.Module):
            raise ValueError(f"Setup.model is a {type(self.model).__name__}; expected a torch.nn.Module")
        if any(parameter.is_meta for parameter in self.model.parameters()):
            raise ValueError("Setup.model is on the meta device, where weights have no values; build it on cpu or cuda")
        for name in ("train", "validation"):
            if (value := getattr(self, name)) is not None and not isinstance(value, Iterable):
                raise ValueError(f"Setup.{name} is a {type(value).__name__}; expected an iterable of (images, labels)")


def check_config(config: RunConfig) -> Diagnosis:
    """Check a run before it is made: its data, network, starting weights, optimizer and metric. Nothing is written.

    Args:
        config: complete. Of generated images only as many are made as are looked at.

    Raises:
        ValueError: it could not be run either.
    """
    assert config.data.crop is not None
    shape = (3, config.data.crop, config.data.crop)
    audited = audit_size(shape)
    data, num_train = dataset.sample(config.data, seed=config.run.seed, num_train=audited, num_val=max(8, audited // 4))
    if config.optim.batch_size > num_train:
        raise ValueError(
            f"optim.batch-size is {config.optim.batch_size}; the training set of {data.name} has {num_train} images"
        )
    batch_size = min(config.optim.batch_size, len(data.train))
    part = dataclasses.replace(config, optim=dataclasses.replace(config.optim, batch_size=batch_size, micro_batch_size=None))
    planned_steps = num_steps(num_train, config.optim.batch_size) * config.optim.epochs
    with engines.start(config.run) as engine:
        parts = faults.install(assemble(part, engine, data=data), part)
        diagnosis = diagnose(evidence_before(parts, part, engine, planned_steps=planned_steps))
        images, _ = first_images(parts, min(16, len(data.train)))
        return prescribed(diagnosis, parts.model, images, plan=config.init.plan)


def check_setup(setup: Setup) -> Diagnosis:
    """Check anybody's training before it begins.

    Raises:
        ValueError: it cannot be looked at: an empty loader, a model that does not take its batches, a loss that is not
            one number; one line that says which.
    """
    images, labels, train = _first_batch(setup)
    try:
        result = probe(
            setup.model,
            setup.loss,
            images,
            labels,
            optimizer=setup.optimizer,
            clip=setup.clip,
            planned_steps=setup.planned_steps,
        )
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"model(images) failed on images of shape {tuple(images.shape)}: {_one_line(error)}") from error
    audited = min(MAX_AUDIT_IMAGES, audit_size(tuple(images.shape[1:])))
    try:
        data = audit_data(train, setup.validation, num_classes=setup.num_classes, max_images=audited)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"a loader failed: {_one_line(error)}") from error
    evidence = Evidence(
        probe=result,
        data=data,
        metric=audit_metric(setup.metric, max(10, result.num_logits or 0)) if setup.metric is not None else None,
        num_classes=setup.num_classes,
    )
    return prescribed(diagnose(evidence), setup.model, images, plan=None)


def _first_batch(setup: Setup) -> tuple[Tensor, Any, Iterable[Any]]:
    """As much of the first batch as a probe can afford, on the model's device, and the loader with that batch still in it."""
    batches = iter(setup.train)
    try:
        first = next(batches, None)
    except Exception as error:
        raise ValueError(f"the train loader failed: {_one_line(error)}") from error
    if first is None:
        raise ValueError("the train loader is empty; expected at least one batch of (images, labels)")
    images, labels = unpacked(first, "train")
    # What can be read once only is its own iterator.
    train = itertools.chain([first], batches) if batches is setup.train else setup.train
    parameter = next(setup.model.parameters(), None)
    device = parameter.device if parameter is not None else images.device
    if isinstance(labels, Tensor):
        size = min(len(images), probe_size(setup.model, tuple(images.shape[1:]), device))
        images, labels = images[:size], labels[:size].to(device)
    return images.to(device), labels, train


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"


@contextlib.contextmanager
def _working_directory_first() -> Iterator[None]:
    """Import as `python my_training.py` does while the user's function runs: from the working directory before all else.

    After that the directory comes last. What is imported late then, by this package or torch, is what is installed, and not a
    file there that happens to have, or was given, the same name; what the user's own code imports late is still found.
    """
    here = str(Path.cwd())
    if here in sys.path or "" in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
        sys.path.append(here)


def load_setup(target: str) -> Setup:
    """Call the function that `module:function` names.

    Raises:
        ValueError: it does not import, is not there, fails, or does not return a `Setup`; one line that says which.
    """
    name, _, function = target.partition(":")
    if not name or not function.isidentifier():
        raise ValueError(f"{target} is not MODULE:FUNCTION, as in my_training:setup")
    with _working_directory_first():
        try:
            module = importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise ValueError(f"{target}: {name} does not import ({_one_line(error)})") from error
        make = getattr(module, function, None)
        if not callable(make):
            raise ValueError(f"{target}: {name} has no function {function}")
        try:
            setup = make()
        except (Exception, SystemExit) as error:
            raise ValueError(f"{target}: {function}() failed ({_one_line(error)})") from error
    if not isinstance(setup, Setup):
        raise ValueError(f"{target}: {function}() returned {type(setup).__name__}; expected a trainability.Setup")
    return setup
