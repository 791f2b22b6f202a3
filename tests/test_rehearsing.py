"""The first steps of a run on a copy: they are the run's own, and the run does not notice."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import config_of, train
from torch import Tensor

from trainability import faults
from trainability.checking.run import check_config
from trainability.training import engine as engines
from trainability.training.parts import TrainingParts, assemble
from trainability.training.precheck import evidence_before
from trainability.training.rehearsing import rehearse_run

LONG = 600.0  # more than the steps take, so that how many there are does not depend on the machine

RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "micro-batches": {"optim__micro_batch_size": 48, "optim__clip": 0.5, "optim__warmup_steps": 5},
    "bf16": {"run__precision": "bf16", "optim__schedule": "cosine"},
    "clip-dropped": {"run__faults": ("clip-dropped",), "optim__clip": 0.1},
    "halved-loss": {"run__faults": ("halved-loss",)},
}


def state_of(parts: TrainingParts) -> list[Any]:
    tensors = [t.detach().clone() for t in (*parts.model.parameters(), *parts.model.buffers())]
    modes = [module.training for module in parts.model.modules()]
    others = [modes, [p.grad for p in parts.model.parameters()], parts.optimizer.state_dict()["param_groups"]]
    return [*tensors, torch.get_rng_state(), *others, dict(parts.optimizer.state), "found_inf" in vars(parts.optimizer)]


@pytest.mark.parametrize("name", RUNS)
def test_the_steps_are_the_run_s_own_and_leave_it_as_it_was(name: str, tmp_path: Path) -> None:
    config = config_of(run__monitor_every_steps=None, **RUNS[name])
    with engines.start(config.run) as engine:
        parts = faults.install(assemble(config, engine), config)
        before = state_of(parts)
        found = rehearse_run(parts, config, engine, planned_steps=24, seconds=LONG)
        after = state_of(parts)
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other
    assert len(found.steps) == 10
    assert not found.in_place
    run = train(tmp_path / "run", config)
    assert [step.loss for step in found.steps] == run.losses[:10]
    assert [step.lr for step in found.steps] == [row["lr"] for row in run.run.steps[:10]]
    assert found.task.kind == "classification"


def test_a_rehearsed_run_is_the_same_run(tmp_path: Path) -> None:
    given: dict[str, Any] = {"run__check": "on", "optim__clip": 0.1, "run__faults": ("clip-dropped",)}
    runs = [train(tmp_path / str(seconds), config_of(run__rehearse_seconds=seconds, **given)) for seconds in (0, LONG)]
    assert runs[0].losses == runs[1].losses
    pairs = zip(runs[0].parts.model.parameters(), runs[1].parts.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert [bool((run.run.evidence or {}).get("rehearsal")) for run in runs] == [False, True]


@pytest.mark.parametrize(("run_follows", "steps"), [(True, 16), (False, 24)])
def test_fewer_steps_are_rehearsed_where_the_run_follows(run_follows: bool, steps: int) -> None:
    config = config_of(run__rehearse_seconds=LONG)
    with engines.start(config.run) as engine:
        parts = assemble(config, engine)
        found = evidence_before(parts, config, engine, planned_steps=240, run_follows=run_follows).rehearsal
    assert found is not None
    assert len(found.steps) == steps


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        # About 51 steps at chance are predicted, within a factor 2, and twelve steps are an epoch.
        ({"init__plan": "he", "data__input": "standard", "optim__epochs": 9}, "will train"),
        ({"init__plan": "he", "data__input": "standard", "optim__epochs": 4}, "cannot tell"),
        ({"init__plan": "normal=0.001"}, "dead"),
        ({"optim__lr": 30.0}, "unstable"),
    ],
)
def test_check_rehearses_a_configuration(given: dict[str, Any], verdict: str) -> None:
    diagnosis = check_config(config_of(run__rehearse_seconds=LONG, **given))
    assert diagnosis.evidence.rehearsal is not None
    assert len(diagnosis.evidence.rehearsal.steps) == 10 or verdict == "unstable"
    assert diagnosis.verdict == verdict, diagnosis.reason


def test_what_does_not_fit_its_time_is_said_and_not_generated() -> None:
    data = {
        "data__name": "synthetic",
        "data__size": 224,
        "data__crop": 224,
        "data__num_classes": 1000,
        "data__num_images": 2000,
    }
    config = config_of(optim__batch_size=512, run__rehearse_seconds=0.5, model__config="D", **data)
    diagnosis = check_config(config)
    assert diagnosis.evidence.rehearsal is None
    assert any("not rehearsed" in line for line in diagnosis.not_checked)
    assert diagnosis.evidence.data is not None
    assert diagnosis.evidence.data.train.num_images < 512
