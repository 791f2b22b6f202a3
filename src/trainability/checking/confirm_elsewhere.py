"""The changes of `confirm` tried side by side on an executor, whose processes make the program anew."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from trainability.doctor import Diagnosis
from trainability.doctor.batches import tensors
from trainability.doctor.evidence import Evidence
from trainability.doctor.experimented import Arm
from trainability.doctor.experiments.battery import Elsewhere, single_arm
from trainability.doctor.experiments.intervention import Intervention
from trainability.doctor.experiments.sources import Source, kept_batches
from trainability.doctor.measure.nested import modules
from trainability.doctor.measure.randomness import generators_restored, random_state, randomness_restored, set_random_state
from trainability.doctor.setup import Setup
from trainability.executors import results


@dataclass(frozen=True, kw_only=True)
class _Task:
    """A change, and all that another process needs to try it."""

    make: Callable[[], Setup]
    table: Callable[[Setup, Evidence], dict[str, Intervention]]
    state: dict[str, Any]
    fingerprint: str
    before: Diagnosis
    name: str
    steps: int
    max_steps: int


def side_by_side(
    executor: Executor,
    setup: Setup,
    before: Diagnosis,
    *,
    make: Callable[[], Setup],
    table: Callable[[Setup, Evidence], dict[str, Intervention]],
    max_steps: int,
) -> Elsewhere:
    """Return what tries changes on an executor.

    Args:
        executor: any; every task is one change.
        setup: the program as it is here.
        before: what `check` said of it.
        make: makes the same program; picklable, and called where the executor runs, with this process's random state.
        table: the interventions of a program and what was seen of it; picklable.
        max_steps: as for `experiment`.

    Raises:
        ValueError: when it is called, if the program that is made there has other weights or batches.
    """
    common = {
        "make": make,
        "table": table,
        "state": random_state(),
        "fingerprint": _fingerprint(setup),
        "before": before,
        "max_steps": max_steps,
    }

    def elsewhere(names: Sequence[str], steps: int) -> dict[str, Arm]:
        return dict(results(executor, _arm, {name: _Task(name=name, steps=steps, **common) for name in names}))

    return elsewhere


def _fingerprint(setup: Setup) -> str:
    """A hash of weights and first batch."""
    with randomness_restored(), generators_restored(setup.train_loader):
        first = next(iter(setup.train_loader), None)
    found = [value for model in modules(setup.model) for value in model.state_dict().values()]
    digest = hashlib.sha256()
    for tensor in (*found, *(tensor for _, tensor in tensors(first))):
        own = tensor.detach().cpu().contiguous()
        digest.update(ctypes.string_at(own.data_ptr(), own.numel() * own.element_size()))
    return digest.hexdigest()


def _arm(task: _Task) -> Arm:
    with randomness_restored():
        source, table = _made(_Key(task))
        set_random_state(task.state)
        return single_arm(source, task.before.findings, table, task.name, steps=task.steps, max_steps=task.max_steps)


class _Key:
    """A task as the key of the program that it needs: tasks of one call share it."""

    def __init__(self, task: _Task) -> None:
        self.task = task

    def __hash__(self) -> int:
        return hash(self.task.fingerprint)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.task.fingerprint == other.task.fingerprint


@functools.lru_cache(maxsize=1)
def _made(key: _Key) -> tuple[Source, dict[str, Intervention]]:
    """The program, made with the random state of the process that asks, as its own was."""
    task = key.task
    set_random_state(task.state)
    with randomness_restored():
        setup = task.make()
    if _fingerprint(setup) != task.fingerprint:
        raise ValueError(
            "the program that another process makes has other weights or batches than the one here; seed what it draws, or"
            " leave out --processes and --cluster"
        )
    with generators_restored(setup.train_loader):
        batches, _ = kept_batches(setup.train_loader, task.max_steps, math.inf)
    return Source(setup, task.before.evidence, batches, make=task.make), task.table(setup, task.before.evidence)
