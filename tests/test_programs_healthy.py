"""Healthy programs of many kinds: each is expressed in a few lines, trains, and the doctor has nothing above a hint to say."""

import pytest
import torch
from healthy_programs import PROGRAMS

import trainability

# Verdicts that a healthy program may get before its first step, and from its own loop.
BEFORE = {"will train", "cannot tell", "slow start"}
# More than a hundred steps take, so that what is rehearsed does not depend on the machine.
SECONDS = 60.0


@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_above_a_hint_before_the_first_step(name: str) -> None:
    program = PROGRAMS[name]()
    before = {key: value.clone() for model in program.models for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    diagnosis = trainability.check(**program.setup, rehearse_seconds=SECONDS)
    assert [(f.code, f.severity, f.seen) for f in diagnosis.findings if f.severity != "hint"] == []
    assert diagnosis.verdict in BEFORE, diagnosis.reason
    assert diagnosis.verdict == "will train" or not program.sure, diagnosis.reason
    assert diagnosis.evidence.rehearsal is not None
    assert diagnosis.evidence.rehearsal.steps
    after = {key: value for model in program.models for key, value in model.state_dict().items()}
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert torch.equal(state, torch.get_rng_state())
