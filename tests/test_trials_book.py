"""The book: every trial is a valid run at every scale, keeps its gain budget, and expects what can be measured."""

import math
import re
import subprocess
import sys

import pytest
import torch

from trainability.config.period import check_period
from trainability.faults import FAULTS
from trainability.initialization import InitPlan, promised_std, weight_layers
from trainability.models.vgg import build_vgg
from trainability.trials.book import CHAPTERS, TRIALS, select
from trainability.trials.measure import METRICS, PROBE_METRICS
from trainability.trials.report.markdown import plan_line
from trainability.trials.run import probe_config
from trainability.trials.scales import DESK_SETS, SCALES, STAND_INS, configure
from trainability.trials.trial import VARIANTS, Trial

# The log's rows; trials beside them say in their id what they add.
LOG = [
    *("caltech-1", "caltech-2", "caltech-3", "caltech-4", "caltech-linear", "cifar100-1", "cifar100-2"),
    *("caltech-mixed", "cifar100-mixed", "caltech-mixed-2", "cifar100-mixed-2", "caltech-more-random", "cifar100-more-random"),
    *("mnist-fail", "cifar10-fail", "mnist-success", "cifar10-success", "cifar100-success"),
    *("imagenet-A", "imagenet-B-fail-1", "imagenet-B-fail-2", "imagenet-B-fail-3", "imagenet-B-fail-4"),
    *("imagenet-B", "imagenet-C", "imagenet-D-fail-1", "imagenet-D-fail-2", "imagenet-D-fail-3"),
    *("imagenet-D", "imagenet-D-vanishing", "imagenet-D-propagate"),
]

CLASSES = {"caltech256": 257, "cifar100": 100, "cifar10": 10, "mnist": 10, "imagenet": 1000}


def test_every_row_of_the_log_is_a_trial_in_its_own_order() -> None:
    assert [name for name in TRIALS if name in LOG] == LOG


def test_names_are_found_by_id_chapter_and_all_and_others_refused() -> None:
    assert [trial.id for trial in select(("imagenet-D", "caltech-1"))] == ["caltech-1", "imagenet-D"]
    assert [trial.id for trial in select(("cliffs",))] == list(CHAPTERS["cliffs"])
    assert select(("all",)) == list(TRIALS.values())
    assert not set(CHAPTERS) & set(TRIALS)
    with pytest.raises(ValueError, match=r"'caltech-9'.*caltech-"):
        select(("caltech-9",))


@pytest.mark.parametrize("trial", TRIALS.values(), ids=lambda trial: trial.id)
def test_a_trial_is_a_valid_run_of_its_period_at_every_scale(trial: Trial) -> None:
    assert trial.data in STAND_INS
    assert set(trial.faults) <= set(FAULTS)
    assert trial.reports
    assert trial.explanation
    assert trial.reading
    for plan in trial.plans:
        check_period(probe_config(plan))
    for scale in SCALES if not trial.plans else ():
        if scale == "desk" and trial.data not in DESK_SETS:
            continue
        for variant in trial.variants:
            config = configure(trial, scale, variant, trial.seeds[0])
            assert config.run.period == "2014-09"
            check_period(config)
            InitPlan.parse(config.init.plan).resolve(len(weight_layers(meta(config.model.config, 1.0, 32, 10))))
            assert config.run.faults == (trial.faults if variant == "as-run" else ())


@pytest.mark.parametrize("trial", TRIALS.values(), ids=lambda trial: trial.id)
def test_expectations_name_what_is_measured(trial: Trial) -> None:
    assert any(expectation.role == "fails" for expectation in trial.expectations)
    for expectation in trial.expectations:
        name, _, label = expectation.metric.partition(":")
        if trial.plans and label:
            assert name in PROBE_METRICS
            assert set(label.split("/")) <= {plan.label for plan in trial.plans}
        else:
            # A probe trial names a metric of a run where no probe can tell.
            assert name in METRICS
            assert not label
            assert expectation.variant in (VARIANTS if trial.plans else trial.variants)
        bounds = [bound for bound in (expectation.low, expectation.high) if bound is not None]
        assert bool(bounds) != expectation.never
        assert bounds == sorted(bounds)


@pytest.mark.parametrize("trial", [trial for trial in TRIALS.values() if not trial.plans], ids=lambda trial: trial.id)
def test_pocket_scale_keeps_the_gain_budget(trial: Trial) -> None:
    pocket = configure(trial, "pocket", "repaired", 0)
    full = configure(trial, "full", "repaired", 0)
    classes = CLASSES[trial.data]
    width = pocket.model.width
    assert width is not None
    # The last layer alone depends on the number of classes, and the first on the three channels, whatever the width. A first
    # fully connected layer that is random has 49 times the inputs at 224 pixels, and a gain that grows with them.
    tolerance = 1.3 if pocket.init.plan.endswith("xavier:2") else 0.6
    assert budget(pocket.model.config, width, 32, classes, pocket.init.plan) == pytest.approx(
        budget(full.model.config, 1.0, 224, classes, full.init.plan), abs=tolerance
    )


def budget(letter: str, width: float, crop: int, classes: int, plan: str) -> float:
    """Gain budget that a plan promises."""
    layers = weight_layers(meta(letter, width, crop, classes))
    total = 0.0
    for (_, module), segment in zip(layers, InitPlan.parse(plan).resolve(len(layers)), strict=True):
        weight = module.get_parameter("weight")
        total += math.log10(weight[0].numel() * promised_std(segment, module) ** 2 / 2)
    return total


def meta(letter: str, width: float, crop: int, classes: int) -> torch.nn.Module:
    """A network without memory for its weights."""
    with torch.device("meta"):
        return build_vgg(letter, num_classes=classes, crop=crop, width=width)


def test_the_list_needs_no_torch() -> None:
    script = "import trainability.cli.trials, trainability.trials.scales, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


@pytest.mark.parametrize("trial", TRIALS.values(), ids=list(TRIALS))
def test_the_page_gives_every_plan_of_a_trial_with_who_gives_it(trial: Trial) -> None:
    line = plan_line(trial)
    given = [
        values["init.plan"] for values in (trial.settings, trial.as_run or {}, trial.as_told or {}) if "init.plan" in values
    ]
    plans = [(plan.plan, plan.source) for plan in trial.plans] or [(value.value, value.source) for value in given]
    assert plans
    assert re.findall(r"`([^`]+)` \(([^)]+)\)", line) == plans
    assert all(f"{plan.label}: " in line for plan in trial.plans)
    assert ("as told" in line) == ("init.plan" in (trial.as_told or {}))
