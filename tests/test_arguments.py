"""What public functions do not take: one line, which names the value and what is accepted."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import trainability as tb

MODEL = nn.Linear(4, 3)
SGD = torch.optim.SGD(MODEL.parameters(), lr=0.1)
IMAGES, LABELS = torch.randn(8, 4), torch.arange(8) % 3
DATA = [(IMAGES, LABELS)]
CE = F.cross_entropy


def sgd_check(**more: Any) -> Any:
    return tb.check(MODEL, DATA, CE, **{"optimizer": SGD, **more})


def monitor(**more: Any) -> Any:
    return tb.Monitor(MODEL, SGD, **more)


def probe(**more: Any) -> Any:
    return tb.probe(**{"model": MODEL, "loss_fn": CE, "images": IMAGES, "labels": LABELS, **more})


def setup(**more: Any) -> Any:
    return tb.Setup(**{"model": MODEL, "train_loader": DATA, **more})


MODULE, WHOLE, BATCHES, PATH = "torch.nn.Module", "a whole number", "an iterable of batches", "the path of a run directory"
# What is called -> how the value is named, and what is accepted.
REFUSED: dict[str, tuple[Callable[[], Any], str, str]] = {
    "init_ scheme": (lambda: tb.init_(MODEL, "zork"), '"zork"', "xavier, xavier-normal, he"),
    "init_ scheme nearly": (lambda: tb.init_(MODEL, "xavierr", seed=0), '"xavierr"', "did you mean xavier"),
    "init_ without seed": (lambda: tb.init_(MODEL, "he"), "seed is None", WHOLE),
    "init_ seed": (lambda: tb.init_(MODEL, "he", seed="a"), "seed is 'a'", WHOLE),
    "init_ plan": (lambda: tb.init_(MODEL, 3, seed=0), "plan is 3", "an InitPlan or its text"),
    "init_ model": (lambda: tb.init_("m", "he", seed=0), "model is 'm'", MODULE),
    "InitPlan.parse": (lambda: tb.InitPlan.parse(None), "plan is None", "its text"),
    "recommend_init model": (lambda: tb.recommend_init(nn.Linear, IMAGES), "model is the class Linear", MODULE),
    "recommend_init images": (lambda: tb.recommend_init(MODEL, "x"), "images is 'x'", "a batch of float images"),
    "build_vgg config": (lambda: tb.build_vgg("Z", num_classes=3), "'Z'", "A, A-LRN, B, C, D, E"),
    "build_vgg classes": (lambda: tb.build_vgg("A", num_classes=-3), "num_classes is -3", "at least 1"),
    "build_vgg classes text": (lambda: tb.build_vgg("A", num_classes="x"), "num_classes is 'x'", "a number"),
    "build_vgg dropout": (lambda: tb.build_vgg("A", num_classes=3, dropout=1.5), "dropout is 1.5", "below 1"),
    "check model": (lambda: tb.check("m", DATA, CE), "model is 'm'", MODULE),
    "check model class": (lambda: tb.check(nn.Linear, DATA, CE), "model is the class Linear", MODULE),
    "check loader": (lambda: tb.check(MODEL, None, CE), "train_loader is None", BATCHES),
    "check validation": (lambda: sgd_check(val_loader=3), "val_loader is 3", BATCHES),
    "check loss": (lambda: tb.check(MODEL, DATA, "ce"), "loss_fn is 'ce'", "a function of (output, labels)"),
    "check loss class": (lambda: tb.check(MODEL, DATA, nn.NLLLoss), "loss_fn is the class NLLLoss", "NLLLoss()"),
    "check optimizer": (lambda: sgd_check(optimizer="sgd"), "optimizer is 'sgd'", "torch.optim.Optimizer"),
    "check optimizer class": (lambda: sgd_check(optimizer=torch.optim.SGD), "the class SGD", "torch.optim.Optimizer"),
    "check metric": (lambda: sgd_check(metric="acc", rehearse_seconds=0), "metric is 'acc'", "a function"),
    "check step": (lambda: sgd_check(step=3), "step is 3", "a function of (model, optimizer, batch)"),
    "check seconds": (lambda: sgd_check(rehearse_seconds="a"), "rehearse_seconds is 'a'", "0 or more"),
    "check classes": (lambda: sgd_check(num_classes="3"), "num_classes is '3'", WHOLE),
    "check planned": (lambda: sgd_check(planned_steps=0), "planned_steps is 0", WHOLE),
    "check clip": (lambda: sgd_check(clip=-1.0), "clip is -1.0", "a gradient norm above 0"),
    "check function": (
        lambda: tb.check(setup),
        "model is the function setup",
        "check(setup()), or use trainability check test_arguments:setup",
    ),
    "check model function": (lambda: tb.check(setup, DATA, CE), "model is the function setup", MODULE),
    "check metric by name": (lambda: tb.check(MODEL, DATA, CE, metric="accuracy"), "'accuracy'", "(outputs, targets)"),
    "Setup model": (lambda: setup(model=[]), "model is a list", MODULE),
    "Setup training_step": (lambda: setup(training_step="x"), "training_step is 'x'", "a function of (model, batch)"),
    "confirm setup": (lambda: tb.confirm(MODEL), "a Linear", "a Setup or a function"),
    "confirm seconds": (lambda: tb.confirm(setup(optimizer=SGD), seconds="x"), "seconds is 'x'", "0 or more"),
    "confirm steps": (lambda: tb.confirm(setup(optimizer=SGD), max_steps=0), "max_steps is 0", WHOLE),
    "probe model": (lambda: probe(model="m"), "model is 'm'", MODULE),
    "probe loss": (lambda: probe(loss_fn=None), "loss_fn is None", "a function of (output, labels)"),
    "probe images": (lambda: probe(images=3), "images is 3", "what the model takes"),
    "probe optimizer": (lambda: probe(optimizer="sgd"), "optimizer is 'sgd'", "an optimizer"),
    "probe clip": (lambda: probe(clip="x"), "clip is 'x'", "a gradient norm above 0"),
    "probe overfit": (lambda: probe(overfit_steps="x"), "overfit_steps is 'x'", WHOLE),
    "audit_data": (lambda: tb.audit_data(3), "train is 3", BATCHES),
    "audit_data validation": (lambda: tb.audit_data(DATA, 3), "validation is 3", BATCHES),
    "audit_data batches": (lambda: tb.audit_data([1, 2]), "yields int", "(input, label)"),
    "audit_data most": (lambda: tb.audit_data(DATA, max_images=0), "max_images is 0", WHOLE),
    "audit_metric": (lambda: tb.audit_metric(None), "metric is None", "a function"),
    "diagnose": (lambda: tb.diagnose("x"), "'x'", "Evidence"),
    "diagnose class": (lambda: tb.diagnose(tb.Evidence), "the class Evidence", "ProbeResult"),
    "Evidence.merge": (lambda: tb.Evidence().merge(3), "3", "an Evidence"),
    "Diagnosis": (lambda: tb.Diagnosis(verdict="zork", reason="", findings=(), evidence=tb.Evidence()), "'zork'", "will train"),
    "Diagnosis.from_dict": (lambda: tb.Diagnosis.from_dict(3), "3", "an object"),
    "explain": (lambda: tb.explain("gain_budget_lo"), "'gain_budget_lo'", "did you mean gain_budget_low"),
    "explain number": (lambda: tb.explain(3), "3", "gain_budget_low"),
    "Monitor model": (lambda: tb.Monitor([MODEL], SGD), "model is a list", "one torch.nn.Module"),
    "Monitor optimizer": (lambda: tb.Monitor(MODEL, torch.optim.SGD), "optimizer is the class SGD", "an optimizer"),
    "Monitor every": (lambda: monitor(every="x"), "every is 'x'", WHOLE),
    "Monitor run": (lambda: monitor(run=3), "run is 3", PATH),
    "Monitor config": (lambda: monitor(run="a", config=3), "config is 3", "a dict"),
    "Monitor sink": (lambda: monitor(run="a", sinks=("zork",)), "'zork'", "tensorboard, wandb"),
    "Monitor sinks": (lambda: monitor(run="a", sinks=3), "sinks is 3", "tensorboard, wandb"),
    "Monitor before": (lambda: monitor(before="x"), "before is 'x'", "a Diagnosis, an Evidence or a ProbeResult"),
    "Monitor classes": (lambda: monitor(num_classes="x"), "num_classes is 'x'", WHOLE),
    "Monitor clip": (lambda: monitor(clip=0), "clip is 0", "a gradient norm above 0"),
    "Monitor planned": (lambda: monitor(planned_steps=1.5), "planned_steps is 1.5", WHOLE),
    "Monitor on_finding": (lambda: monitor(on_finding=3), "on_finding is 3", "a function"),
    "follow every": (lambda: tb.follow(every=0), "every is 0", WHOLE),
    "follow run": (lambda: tb.follow(run=3), "run is 3", PATH),
    "read_run": (lambda: tb.read_run("nowhere"), "nowhere", "config.toml"),
    "read_run number": (lambda: tb.read_run(3), "run is 3", PATH),
    "write_report": (lambda: tb.write_report(None), "run is None", PATH),
    "figures": (lambda: tb.figures(3), "run is 3", PATH),
    "compare text": (lambda: tb.compare("runs/a"), "runs is 'runs/a'", "two or more runs"),
    "compare numbers": (lambda: tb.compare([3, 4]), "run is 3", PATH),
    "compare one": (lambda: tb.compare([]), "got 0", "two or more runs"),
    "fit": (lambda: tb.fit("x", None, None, engine=None), "config is 'x'", "RunConfig"),  # type: ignore[arg-type]
    "RunConfig": (lambda: tb.RunConfig(model="B"), "model is 'B'", "a ModelConfig"),  # type: ignore[arg-type]
}
CLASSES_OF_ANSWERS = {"Comparison", "Evidence", "Finding", "Run", "__version__"}
"""Public names that users get and do not make."""


@pytest.mark.parametrize("name", REFUSED)
def test_one_line_names_the_value_and_what_is_accepted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call, value, accepted = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(value)) as raised:
        call()
    message = str(raised.value)
    assert accepted in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_every_public_name_has_its_row() -> None:
    asked = {re.split(r"[ .]", name)[0] for name in REFUSED}
    assert set(tb.__all__) - CLASSES_OF_ANSWERS <= asked
