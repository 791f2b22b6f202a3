"""The book runs what the log's code ran: every trial against the data file, field by field, and the budgets of its states."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from trainability.config import RunConfig
from trainability.doctor import input_moments
from trainability.initialization import InitPlan, Segment, promised_std, weight_layers
from trainability.models.vgg import CONFIGS, build_vgg
from trainability.trials.book import TRIALS
from trainability.trials.photographs import load_photographs
from trainability.trials.scales import configure

RAN: dict[str, Any] = tomllib.loads((Path(__file__).parent / "what_the_code_ran.toml").read_text(encoding="utf-8"))
STATES = {trial: name for name, state in RAN["state"].items() for trial in state["trials"]}
PHOTOGRAPHS = Path(__file__).resolve().parents[2] / "shared" / "data" / "imagenet-1000"


def letters(segments: list[Segment]) -> str:
    """A plan as the data file writes it, without the gap before the fully connected layers."""
    return "".join({"xavier": "X", "normal": "n"}[segment.scheme] for segment in segments)


def resolved(plan: str, net: str) -> list[Segment]:
    num_convolutions = sum(isinstance(kernel, int) for stage in CONFIGS[net] for kernel in stage)
    return InitPlan.parse(plan).resolve(num_convolutions + 3)


def test_every_trial_that_trains_belongs_to_a_state() -> None:
    assert set(STATES) == {trial.id for trial in TRIALS.values() if not trial.plans}
    assert set(RAN["trial"]) <= set(STATES)


def as_run(name: str) -> RunConfig:
    return configure(TRIALS[name], "full", "as-run", 0)


@pytest.mark.parametrize("name", STATES)
def test_a_trial_is_what_the_code_ran(name: str) -> None:
    state, own, config = RAN["state"][STATES[name]], RAN["trial"].get(name, {}), as_run(name)
    optim, constant = config.optim, RAN["constant"]
    for field, value in constant.items():
        assert getattr(optim, field) == value, field
    net = config.model.config
    segments = resolved(config.init.plan, net)
    if state["plan"]:
        assert letters(segments) == state["plan"][net].replace(" ", "")
    assert {segment.value for segment in segments if segment.scheme == "normal"} == (
        {state["sigma"]} if "sigma" in state else set()
    )
    assert optim.micro_batch_size == state["micro_batch"]
    assert optim.clip == (None if own.get("no_clip") else state.get("clip"))
    assert optim.nesterov == state.get("nesterov", False)
    # torch's patience counts the evaluations before the one at which the rate falls; ours counts that one too.
    assert optim.patience_epochs == state["patience"] + 1
    if "threshold" in state:
        assert optim.plateau_threshold == state["threshold"]
    assert set(config.run.faults) == {*state["faults"], *own.get("more_faults", ())}
    assert config.model.num_outputs == own.get("num_outputs")
    assert config.model.classifier == own.get("classifier", "conv")
    assert config.data.flip == own.get("flip", TRIALS[name].data != "mnist")


@pytest.mark.parametrize("name", STATES)
def test_what_was_repaired_differs_by_the_bugs_alone(name: str) -> None:
    run, repaired = as_run(name), configure(TRIALS[name], "full", "repaired", 0)
    assert (run.init, run.optim) == (repaired.init, repaired.optim)
    assert repaired.run.faults == ()
    assert repaired.model.num_outputs is None


@pytest.mark.parametrize("state", [name for name, state in RAN["state"].items() if "probed" in state])
def test_a_probed_plan_is_what_the_code_ran(state: str) -> None:
    ran = RAN["state"][state]
    plan = next(plan for plan in TRIALS[ran["probed"]["trial"]].plans if plan.label == ran["probed"]["label"])
    segments = resolved(plan.plan, "D")
    assert letters(segments) == ran["plan"]["D"].replace(" ", "")
    assert {segment.value for segment in segments if segment.scheme == "normal"} == {ran["sigma"]}
    assert plan.input == "standard"


def budget(net: str, plan: str) -> float:
    """Closed form: log10 of the product of the gains that a plan promises, full width, 224 pixels, 1,000 classes."""
    with torch.device("meta"):
        model = build_vgg(net, num_classes=1000, crop=224, width=1.0)
    layers = weight_layers(model)
    return sum(
        math.log10(module.get_parameter("weight")[0].numel() * promised_std(segment, module) ** 2 / 2)
        for (_, module), segment in zip(layers, resolved(plan, net), strict=True)
    )


@pytest.mark.parametrize("name", RAN["budgets"])
def test_the_budgets_of_the_states(name: str) -> None:
    row = RAN["budgets"][name]
    assert budget(row["net"], row["plan"]) == pytest.approx(row["budget"], abs=0.1)
    if "trial" in row:
        config = as_run(row["trial"])
        assert config.model.config == row["net"]
        assert letters(resolved(config.init.plan, row["net"])) == letters(resolved(row["plan"], row["net"]))
        assert budget(row["net"], config.init.plan) == pytest.approx(row["budget"], abs=0.1)


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="needs photographs: a folder of ImageNet, one of each class is enough")
def test_photographs_add_a_tenth_to_the_budgets() -> None:
    data = load_photographs(PHOTOGRAPHS, crop=224)
    assert len(data.train) == 128
    assert data.train.images[0].shape == (224, 224, 3)
    # The code's own constants: means and standard deviations over all of ImageNet.
    means, stds = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = torch.stack([data.train.images[number] for number in range(len(data.train))])
    square = input_moments(((images / 255 - means) / stds).permute(0, 3, 1, 2)).mean_square
    assert math.log10(square) == pytest.approx(0.1, abs=0.1)
