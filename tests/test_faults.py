"""The bugs of the log's code, each switched on in our trainer: found and named as the cause; without it, silence."""

import dataclasses
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from conftest import config_of, train

from trainability.config import RunSettings
from trainability.doctor import Diagnosis, diagnose
from trainability.faults import FAULTS
from trainability.training.run_monitor import read_evidence

# What a run needs for its fault to show.
NEEDS: dict[str, dict[str, Any]] = {
    "metric-of-last-batch": {},
    "halved-loss": {"optim__micro_batch_size": 64},
    "blank-images": {"data__input": "standard", "init__plan": "he"},
    "padded-pointwise": {"model__config": "C"},
    "clip-dropped": {"optim__clip": 0.3},
    "shared-data-set": {},
    "odd-accumulation": {"optim__micro_batch_size": 64},
    "lost-schedule": {"optim__epochs": 4, "optim__patience_epochs": 1, "optim__lr": 1e-4},
    # No epoch passes the first by as much as it takes, so that the third after it brings the drop.
    "lost-plateau": {"optim__epochs": 3, "optim__patience_epochs": 3, "optim__plateau_threshold": 10.0, "optim__lr": 1e-4},
}


def run(folder: Path, faults: tuple[str, ...], needs: dict[str, Any]) -> Diagnosis:
    config = config_of(run__check="on", run__monitor_every_steps=4, run__faults=faults, **needs)
    if "optim__patience_epochs" not in needs:
        return diagnose(read_evidence(train(folder, config).run))
    # Epochs without a better error bring a drop; the rest is trained after a resume.
    train(folder, config)
    longer = dataclasses.replace(config, optim=dataclasses.replace(config.optim, epochs=config.optim.epochs + 2))
    return diagnose(read_evidence(train(folder, longer).run))


def test_the_table_is_what_the_command_line_accepts_and_what_is_tested() -> None:
    accepted = get_args(get_args(get_type_hints(RunSettings)["faults"])[0])
    assert set(accepted) == set(FAULTS) == set(NEEDS)


@pytest.mark.parametrize("name", NEEDS)
def test_a_fault_is_named_as_the_cause_and_its_absence_is_not(name: str, tmp_path: Path) -> None:
    broken = run(tmp_path / "broken", (name,), NEEDS[name])
    rule = FAULTS[name].rule
    worse = [finding.rule for finding in broken.findings if finding.severity != "hint"]
    assert rule in worse, str(broken)
    assert not broken.evidence.problems
    repaired = run(tmp_path / "repaired", (), NEEDS[name])
    assert rule not in [finding.rule for finding in repaired.findings]
    assert not repaired.worse_than_hint, str(repaired)
    assert not repaired.evidence.problems
