"""What would tell where a rehearsal does not: more time for it where that ran out, else a run."""

import dataclasses

import pytest

from trainability.doctor.outlook import Outlook
from trainability.doctor.outlook_limits import CANNOT_TELL
from trainability.doctor.outlook_text import sentence
from trainability.doctor.rehearsed import Observation, Rehearsal, RehearsedStep


@pytest.mark.parametrize("ended_by", ["time", "enough", "steps"])
def test_the_option_is_named_where_the_time_ran_out(ended_by: str) -> None:
    steps = tuple(RehearsedStep(step=number, loss=2.3, optimizer_steps=1) for number in range(1, 33))
    looks = (Observation(step=0, loss=2.3), Observation(step=32, loss=2.29))
    rehearsal = dataclasses.replace(Rehearsal(steps=steps, reference=looks), ended_by=ended_by)
    said = sentence(rehearsal, Outlook(verdict=CANNOT_TELL, cause="near"))
    assert said.endswith(" would tell")
    assert ("rehearse_seconds=" in said) == ("--rehearse" in said) == (ended_by != "steps")
