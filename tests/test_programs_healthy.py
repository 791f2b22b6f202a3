"""Healthy programs of many kinds, trained: the doctor has nothing above a hint to say before, during and after."""

import functools

import healthy_loops
import healthy_losses
import healthy_programs
import pytest
import torch
from healthy_parts import PROGRAMS, Program

import trainability
from trainability import Diagnosis

FILES = (healthy_programs, healthy_losses, healthy_loops)  # each adds its programs to the table
# Verdicts that a healthy program may get before its first step, and from its own loop.
BEFORE = {"will train", "cannot tell", "slow start"}
DURING = {"is training", "has learned", *BEFORE}  # those from before stand until an optimizer has stepped
# More than a hundred steps take, so that what is rehearsed does not depend on the machine.
SECONDS = 600.0
MOMENTS = (1, 3, 10, 30, 100, 300, 1000)


@functools.cache
def checked(name: str) -> tuple[Program, Diagnosis]:
    """A program that has not begun and what `check` says of it, which leaves it so."""
    program = PROGRAMS[name]()
    before = {key: value.clone() for model in program.models for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    diagnosis = trainability.check(**program.setup, rehearse_seconds=SECONDS)
    after = {key: value for model in program.models for key, value in model.state_dict().items()}
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert torch.equal(state, torch.get_rng_state())
    return program, diagnosis


def alarms(diagnosis: Diagnosis) -> list[tuple[str, str, str]]:
    assert not any("itself failed" in line for line in diagnosis.not_checked), diagnosis.not_checked
    assert not any("stopped watching" in line for line in diagnosis.not_checked), diagnosis.not_checked
    return [(f.code, f.severity, f.seen) for f in diagnosis.findings if f.severity != "hint"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_above_a_hint_before_the_first_step(name: str) -> None:
    program, diagnosis = checked(name)
    assert alarms(diagnosis) == []
    assert diagnosis.verdict in BEFORE, diagnosis.reason
    assert diagnosis.verdict == "will train" or not program.sure, diagnosis.reason
    assert diagnosis.evidence.rehearsal is not None
    assert diagnosis.evidence.rehearsal.steps


@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_above_a_hint_while_it_trains_and_after(name: str) -> None:
    program, before = checked(name)
    torch.manual_seed(0)  # whichever test made the program first
    assert len(program.watched) <= 2  # `check`, `with Monitor`, one call a backward pass, `diagnose`: five lines
    losses: list[float] = []
    with program.monitored(every=10) as monitors:
        for loss in program.losses():
            losses.append(loss)
            if len(losses) in MOMENTS or len(losses) == program.steps:
                for monitor in monitors:
                    for diagnosis in (monitor.diagnose(), trainability.diagnose(before.evidence, monitor.evidence())):
                        assert alarms(diagnosis) == [], f"after {len(losses)} passes"
                        assert diagnosis.verdict in DURING, (len(losses), diagnosis.reason)
            if len(losses) == program.steps:
                break
    assert all(len(monitor.evidence().steps) > 1 for monitor in monitors)
    assert not program.falls or sum(losses[-10:]) < sum(losses[:10])
