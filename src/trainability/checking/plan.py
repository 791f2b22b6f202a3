"""`plan` for a run of this package, or for a `Setup`: initialisation, learning rate, and the flags or code that use them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Literal

from trainability.checking.failures import failures_named
from trainability.checking.program import Program
from trainability.checking.run import assembled
from trainability.checking.run_setup import setup_of_run
from trainability.config import RunConfig
from trainability.config.period import check_period
from trainability.data.packed import Progress
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.unusable import check_numbers_of
from trainability.doctor.setup import Setup
from trainability.initialization import InitPlan
from trainability.prescribe.search import TOP, Proposal, Trying, propose

Varied = Literal["lr", "clip", "input"]
VARIED: tuple[Varied, ...] = ("lr", "clip", "input")
_NUM_IMAGES = 2048
"""Enough batches for the steps that are tried; of a generated set, no more are made."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunPlans:
    """Plans for a run of `train`.

    Attributes:
        config: the run with the best of them: its plan, its learning rate, its clip and, if that was changed, `data.input`.
        proposals: the best first, for the input of `config`.
    """

    config: RunConfig
    proposals: list[Proposal]


def plans_for_run(
    config: RunConfig,
    *,
    vary: tuple[Varied, ...] = VARIED,
    top: int = TOP,
    seconds: float = 0.0,
    progress: Progress | None = None,
    executor: Executor | None = None,
    trying: Trying | None = None,
) -> RunPlans:
    """Propose plans for a run of `train`. `run.period` keeps out schemes that were published later.

    Args:
        config: complete.
        vary: what else than the initialisation may be proposed: another learning rate ("lr"), clipping ("clip"), standardised
            inputs ("input") where the mean is subtracted only, which leaves the first layer a signal that no usual scheme is
            for.
        top: as for `propose`.
        seconds: as for `propose`.
        progress: called with the progress of packing, if the data set has to be packed first.
        executor: as for `propose`.
        trying: as for `propose`.

    Raises:
        ValueError: `train` would refuse the configuration too, or no scheme was published by then.
    """
    if "input" in vary and config.data.input == "mean":
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, input="standard"))
    unrehearsed = dataclasses.replace(config, run=dataclasses.replace(config.run, rehearse_seconds=None))
    with assembled(unrehearsed, num_images=_NUM_IMAGES, progress=progress) as look:
        found = propose(
            setup_of_run(look.parts, look.config, look.engine, look.planned_steps),
            like=InitPlan.parse(config.init.plan),
            is_allowed=lambda plan: _is_allowed(config, plan=str(plan)),
            vary_lr="lr" in vary,
            vary_clip="clip" in vary and _is_allowed(config, clip=1.0),
            top=top,
            seconds=seconds,
            seed=config.run.seed,
            executor=executor,
            make=Program(config=unrehearsed, num_images=_NUM_IMAGES).setup,
            trying=trying,
        )
    best = found[0]
    lr = config.optim.lr if best.lr is None else best.lr
    init, optim = (
        dataclasses.replace(config.init, plan=str(best.plan)),
        dataclasses.replace(config.optim, lr=lr, clip=best.clip),
    )
    return RunPlans(config=dataclasses.replace(config, init=init, optim=optim), proposals=found)


def plans_for_setup(
    setup: Setup,
    *,
    vary_lr: bool = True,
    vary_clip: bool = True,
    top: int = TOP,
    seconds: float = 0.0,
    executor: Executor | None = None,
    make: Callable[[], Setup] | None = None,
    trying: Trying | None = None,
) -> list[Proposal]:
    """Propose plans for the model of a `Setup`, the best first; nothing of it is changed, random states included.

    Args:
        setup: one model, and batches (input, label).
        vary_lr: as for `propose`.
        vary_clip: as for `propose`.
        top: as for `propose`.
        seconds: as for `propose`.
        executor: as for `propose`.
        make: as for `propose`.
        trying: as for `propose`.

    Raises:
        ValueError: as for `propose`.
    """
    check_numbers_of(setup.optimizer)
    with randomness_restored(), generators_restored(setup.train_loader), failures_named(setup):
        return propose(
            setup,
            vary_lr=vary_lr,
            vary_clip=vary_clip,
            top=top,
            seconds=seconds,
            executor=executor,
            make=make,
            trying=trying,
        )


def _is_allowed(config: RunConfig, *, plan: str | None = None, clip: float | None = None) -> bool:
    init, optim = config.init, config.optim
    if plan is not None:
        init = dataclasses.replace(init, plan=plan)
    if clip is not None:
        optim = dataclasses.replace(optim, clip=clip)
    try:
        check_period(dataclasses.replace(config, init=init, optim=optim))
    except ValueError:
        return False
    return True
