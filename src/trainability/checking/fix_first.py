"""What `plan` and `map` say before they begin: errors of a program that no initialisation, learning rate or clipping undoes."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from trainability import initialization
from trainability.checking.check import check_setup
from trainability.checking.first_batch import first_batch
from trainability.doctor.finding import Finding
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.setup import Setup
from trainability.prescribe.plans import ranked
from trainability.prescribe.remedies import FIXED_BY_A_PLAN, OF_THE_RATE


def to_fix_first(setup: Setup) -> tuple[Finding, ...]:
    """Find what `check` finds as an error before the first step, and finds with weights drawn by the best plan too.

    Returns:
        Errors, in the order of `check`; none where no plan can draw the weights, and where `check` cannot look at the program,
        which `plan` and `map` refuse as well.
    """
    # What validation and metric show does not keep a program from training, and a rehearsal would take as long as a check.
    program = dataclasses.replace(setup, val_loader=None, metric=None, rehearse_seconds=None)
    errors = _errors(program)
    drawn = _with_a_plan(program) if errors else None
    if drawn is None:
        return ()
    left = {finding.code for finding in _errors(drawn)}
    return tuple(finding for finding in errors if finding.code in left)


def fix_first_line(errors: tuple[Finding, ...], target: str) -> str:
    """Say in one line what is to be fixed first.

    Args:
        errors: at least one.
        target: MODULE:FUNCTION of the program.
    """
    named = "; ".join(f"{finding.code} ({finding.cause})" for finding in errors)
    count = "an error" if len(errors) == 1 else f"{len(errors)} errors"
    those = "it" if len(errors) == 1 else "them"
    why = f"no initialisation or learning rate undoes {those}"
    return f"trainability check {target} finds {count}: {named}; fix {those} first, as {why}"


def _errors(program: Setup) -> tuple[Finding, ...]:
    try:
        found = check_setup(program).findings
    except ValueError:
        return ()
    return tuple(
        finding
        for finding in found
        if finding.severity == "error" and finding.code not in FIXED_BY_A_PLAN and finding.rule not in OF_THE_RATE
    )


def _with_a_plan(program: Setup) -> Setup | None:
    """A copy of the program with other weights; `None` where no plan can draw them."""
    model = program.whole_model
    with randomness_restored(), generators_restored(program.train_loader):
        batch, _ = first_batch(program)
        images = batch[0] if isinstance(batch, tuple | list) and batch else None
        if model is None or not isinstance(images, Tensor):
            return None
        try:
            twin, optimizer = copied(model, program.optimizer)
            initialization.apply(ranked(model, images)[0].plan, twin, seed=0)
        except ValueError:
            return None
    return dataclasses.replace(program, model=twin, optimizer=optimizer)
