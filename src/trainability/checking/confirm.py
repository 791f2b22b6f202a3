"""`confirm`: a check, and an experiment for each cause that it suspects and for many that it does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import Executor

import torch
from torch import Tensor, nn

from trainability.checking.check import check_setup, is_pair
from trainability.checking.confirm_elsewhere import side_by_side
from trainability.doctor import Diagnosis, diagnose
from trainability.doctor.arguments import check_counts, check_seconds, with_near_names
from trainability.doctor.continuing import keep_prescriptions
from trainability.doctor.error_line import error_line
from trainability.doctor.evidence import Evidence
from trainability.doctor.experiments.battery import Progress, experiment
from trainability.doctor.experiments.intervention import Intervention
from trainability.doctor.experiments.sources import kept_batches
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.setup import Setup
from trainability.doctor.told import told
from trainability.prescribe.interventions import with_prescribed


@with_near_names
def confirm(
    setup: Setup | Callable[[], Setup],
    *,
    seconds: float = 60.0,
    max_steps: int = 120,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Diagnosis:
    """Find out by experiment why a program does not train: change one thing at a time in copies, and see which change fixes it.

    Checks first. Then steps a copy of the program as it is, another one with a second seed, and one for each change, on the
    same batches; the changes that the findings call for come first. Model, optimizer, loaders and random state are afterwards
    as they were, bit for bit.

    Args:
        setup: of the program, or a function that makes it; of a function, the second seed has other starting weights, and
            loops that reach their model by themselves can be copied.
        seconds: about as long at most, beside the check.
        max_steps: of each copy; where no change fixes the program and there is time, four times as many.
        progress: called with the change that is tried, its number, and how many are planned, which grows where more are
            needed; `None` before that is known.
        executor: tries changes side by side there, each on one thread; `setup` then is a function that can be pickled, as one
            of a module can, and makes the same program where its random state is the same.

    Returns:
        The diagnosis; each finding says in `tested` whether it is confirmed, refuted, open or not tested, and
        `evidence.experiments` has every curve.

    Raises:
        ValueError: as `check`; or `seconds` or `max_steps` is too small.
    """
    if isinstance(setup, nn.Module) or not (isinstance(setup, Setup) or callable(setup)):
        raise ValueError(f"confirm takes a Setup or a function that returns one, not {told(setup)}")
    check_seconds(seconds=seconds)
    check_counts(max_steps=max_steps)
    make = None if isinstance(setup, Setup) else setup
    with randomness_restored():
        made = setup if isinstance(setup, Setup) else setup()
    if not isinstance(made, Setup):
        raise ValueError(f"confirm takes a Setup or a function that returns one, not {told(made)}")
    if isinstance(made.train_loader, Iterator):  # can be read once only, and is read by the check and the experiments
        made = dataclasses.replace(made, train_loader=kept_batches(made.train_loader, max_steps, 0.1 * seconds)[0])
    before = check_setup(made)
    return experimented(before, made, make=make, seconds=seconds, max_steps=max_steps, progress=progress, executor=executor)


def experimented(
    before: Diagnosis,
    setup: Setup,
    *,
    make: Callable[[], Setup] | None = None,
    seconds: float = 60.0,
    max_steps: int = 120,
    progress: Progress | None = None,
    executor: Executor | None = None,
    elsewhere: Callable[[], Setup] | None = None,
) -> Diagnosis:
    """Carries a diagnosis on by experiments.

    Args:
        before: of a check.
        setup: of the same program.
        make: makes it anew; None to copy it.
        seconds: as for `confirm`.
        max_steps: as for `confirm`.
        progress: as for `confirm`.
        executor: as for `confirm`.
        elsewhere: makes the program where the executor runs; `None` takes `make`.

    Raises:
        ValueError: as `confirm`.
    """
    anew = elsewhere or make
    if executor is not None and anew is None:
        raise ValueError("an executor needs a function that makes the setup; a Setup was given")
    form = "step" if setup.step else "training_step" if setup.training_step else "loss_fn"
    try:
        found = experiment(
            setup,
            before.evidence,
            before.findings,
            make=make,
            seconds=seconds,
            max_steps=max_steps,
            interventions=interventions_for(setup, before.evidence),
            progress=progress,
            elsewhere=None
            if executor is None or anew is None
            else side_by_side(executor, setup, before, make=anew, table=interventions_for, max_steps=max_steps),
        )
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"the experiments failed ({form}): {error_line(error)}") from error
    evidence = dataclasses.replace(before.evidence, experiments=found)
    return keep_prescriptions(diagnose(evidence), before)


def interventions_for(setup: Setup, evidence: Evidence) -> dict[str, Intervention]:
    """Every change by name, with those that are computed for this program and what was seen of it."""
    with randomness_restored(), generators_restored(setup.train_loader):
        first = next(iter(setup.train_loader), None)
    images = first[0] if first is not None and is_pair(first) and isinstance(first[0], Tensor) else None
    model = setup.whole_model
    parameter = next(model.parameters(), None) if model is not None else None
    if images is None or not images.is_floating_point() or images.dim() < 2 or parameter is None:
        return with_prescribed(None, None, evidence)
    with torch.no_grad():
        return with_prescribed(model, images[:16].to(parameter.device), evidence)
