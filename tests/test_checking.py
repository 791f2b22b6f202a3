"""`check`: on a configuration, on a stranger's model, and as one call from a stranger's code."""

import dataclasses
import inspect
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import config_of, flags_of
from torch import nn
from torch.nn import functional as F

import trainability
from trainability.checking.check import check_setup
from trainability.checking.run import check_config
from trainability.cli import program as cli
from trainability.doctor import predict, weight_moments
from trainability.doctor.theory.moments import SignalMoments
from trainability.doctor.theory.trace import trace
from trainability.initialization import InitPlan, apply
from trainability.models.vgg import build_vgg
from trainability.prescribe.candidates import promised_moments
from trainability.prescribe.plans import ranked

PAPER_D = {"init__plan": "xavier:4,normal=0.01,xavier:3", "model__config": "D", "model__width": 1.0, "model__hidden": None}


def test_vgg_is_followed_through_its_convolutional_head() -> None:
    model = build_vgg("C", num_classes=10, crop=64, width=0.1)
    apply(InitPlan.parse("he"), model, seed=0)
    prediction = predict(trace(model, (2, 3, 64, 64)), weight_moments(model), SignalMoments(mean_square=1.0))
    assert prediction.structure == "plain"
    assert prediction.notes == ()
    assert prediction.log10_gain == pytest.approx(0, abs=0.3)
    assert all(layer.gain is not None and layer.gradient_ratio is not None for layer in prediction.layers)


def test_promised_moments_are_those_of_the_drawn_weights() -> None:
    model = build_vgg("A", num_classes=10, crop=32, width=0.25)
    plan = InitPlan.parse("orthogonal:2,xavier:3,normal=0.02,uniform=0.1:1,he:2")
    promised = promised_moments(plan, model)
    apply(plan, model, seed=0)
    drawn = weight_moments(model)
    for name, moments in promised.items():
        assert moments.shape == drawn[name].shape
        assert moments.variance == pytest.approx(drawn[name].variance, rel=0.15)


@pytest.mark.parametrize("mean_square", [1.0, 3000.0])
def test_the_best_plan_counts_the_input_s_scale(mean_square: float) -> None:
    model = build_vgg("D", num_classes=1000, crop=64, width=0.25)
    best = ranked(model, math.sqrt(mean_square) * torch.randn(2, 3, 64, 64))[0]
    assert best.budget is not None
    assert abs(best.budget) < 0.5
    assert (str(best.plan) == "he") == (mean_square == 1.0)


@pytest.mark.slow
def test_the_paper_s_plan_at_224_pixels() -> None:
    # The seed's net D with the paper's seven Xavier layers and N(0, 0.01) between them.
    data = {"data__name": "synthetic", "data__size": 224, "data__crop": 224, "data__num_classes": 1000}
    config = config_of(**PAPER_D, **data, data__input="standard", optim__batch_size=64, optim__epochs=15)
    diagnosis = check_config(config)
    finding = diagnosis.findings[0]
    assert diagnosis.verdict == "dead"
    assert finding.rule == "gain_budget_low"
    assert finding.cause.startswith("initialisation")
    probe = diagnosis.evidence.probe
    assert probe is not None
    assert probe.log10_gain == pytest.approx(-11.0, abs=0.1)
    assert probe.plateau_steps == float("inf")
    assert '--init.plan "he"' in finding.remedy


def test_check_writes_nothing_and_its_exit_code_serves_in_ci(command, tmp_path: Path) -> None:
    small = flags_of(config_of(run__check="on"))
    good = command("check", *small)
    assert good.returncode == 0, good.stdout + good.stderr
    assert "gain budget" in good.stdout
    bad = command("check", *small, "--init.plan", "normal=0.001", "--json")
    assert bad.returncode == 1
    assert json.loads(bad.stdout)["findings"][0]["rule"] == "gain_budget_low"
    assert bad.stderr == ""
    assert list(tmp_path.iterdir()) == []


MINE = """
import dataclasses, torch
from torch import nn
from trainability import Setup

def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 4))

def batches():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(32) % 4
    noise = [torch.randn(32, 3, 4, 4, generator=generator) for _ in range(20)]
    return [(image + labels[:, None, None, None], labels) for image in noise]

def last_batch(pairs):
    logits, labels = pairs[-1]
    return (logits.argmax(1) == labels).sum().item() / sum(len(y) for _, y in pairs)

def good():
    model = net()
    return Setup(model=model, train_loader=batches(), optimizer=torch.optim.SGD(model.parameters(), lr=0.01), num_classes=4)

def metric(): return dataclasses.replace(good(), metric=last_batch)
def empty(): return dataclasses.replace(good(), train_loader=[])
def names(): return dataclasses.replace(good(), train_loader=["ab"])
def vector(): return dataclasses.replace(good(), loss_fn=nn.CrossEntropyLoss(reduction="none"))
def pair():
    class Two(nn.Module):
        def __init__(self): super().__init__(); self.body = net()
        def forward(self, images): return self.body(images), 1
    return dataclasses.replace(good(), model=Two(), optimizer=None)
def narrow(): return dataclasses.replace(good(), model=nn.Sequential(nn.Flatten(), nn.Linear(7, 4)), optimizer=None)
def fails(): raise KeyError("no such file")
def leaves(): raise SystemExit(5)
def three(): return 3
def no_model(): return dataclasses.replace(good(), model=None)
def on_meta(): return dataclasses.replace(good(), model=net().to("meta"), optimizer=None)
def no_loader(): return dataclasses.replace(good(), train_loader=7)
def no_clip(): return dataclasses.replace(good(), clip=0.0)
def no_loss(): return dataclasses.replace(good(), loss_fn=2.3)
def arrays(): return dataclasses.replace(good(), train_loader=[(images.numpy(), labels) for images, labels in batches()])
def lists(): return dataclasses.replace(good(), train_loader=[(images, labels.tolist()) for images, labels in batches()])
def breaks():
    def read():
        yield batches()[0]
        raise OSError("disk gone")
    return dataclasses.replace(good(), train_loader=read())
def once(): return dataclasses.replace(good(), train_loader=iter(batches()[:1]))
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_training.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_stranger_s_setup(mine: None, capsys: pytest.CaptureFixture[str]) -> None:
    for function, code, word in (("good", 0, "WILL TRAIN"), ("metric", 1, "BROKEN METRIC"), ("once", 0, "WILL TRAIN")):
        with pytest.raises(SystemExit) as stop:
            cli.main(["check", f"my_training:{function}"])
        said = capsys.readouterr().out
        assert stop.value.code == code, said
        assert word in said


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("my_training:empty", "train_loader"),
        ("my_training:names", "yields str"),
        ("my_training:vector", "one number"),
        ("my_training:pair", "tuple of 2"),
        ("my_training:narrow", "(32, 3, 4, 4)"),
        ("my_training:fails", "(KeyError: 'no such file', "),
        ("my_training:leaves", "(SystemExit: 5, "),
        ("my_training:no_model", "model is None"),
        ("my_training:on_meta", "meta device"),
        ("my_training:no_loader", "train_loader is 7"),
        ("my_training:no_clip", "clip is 0.0"),
        ("my_training:no_loss", "loss_fn is 2.3"),
        ("my_training:arrays", "yields (ndarray, Tensor)"),
        ("my_training:lists", "loss_fn(model(inputs), labels) failed"),
        ("my_training:breaks", "OSError: disk gone"),
        ("my_training:three", "returned 3"),
        ("my_training:nothing", "function nothing"),
        ("nowhere_at_all:setup", "(ModuleNotFoundError: "),
        ("my_training", "is not MODULE:FUNCTION"),
    ],
)
def test_a_mistake_is_one_line(mine: None, capsys: pytest.CaptureFixture[str], target: str, words: str) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["check", target])
    said = capsys.readouterr()
    assert stop.value.code == 2
    assert words in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


# What a user writes: README shows it.
TEN_LINES = """
import torch, trainability
from torch import nn

images, labels = torch.randn(512, 3, 16, 16), torch.randint(4, (512,))
images += labels[:, None, None, None]
train_loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels), batch_size=64, shuffle=True)
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 64), nn.ReLU(), nn.Linear(64, 4))
for name, p in model.named_parameters():
    nn.init.normal_(p, std=1e-3) if "weight" in name else nn.init.zeros_(p)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
print(trainability.check(model, train_loader, nn.functional.cross_entropy, optimizer=optimizer, num_classes=4))
"""


def test_ten_lines_of_a_user_s_own_code() -> None:
    said = subprocess.run([sys.executable, "-c", TEN_LINES], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "gain_budget_low" in said.stdout
    assert "trainability.init_(model, " in said.stdout


def deep(depth: int = 12, width: int = 32, std: float | None = None) -> nn.Sequential:
    """Without normalisation; starts at N(0, std) with zero biases, or as PyTorch does."""
    torch.manual_seed(0)
    hidden = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.ReLU())]
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, width), nn.ReLU(), *hidden, nn.Linear(width, 4))
    if std is not None:
        for module in model:
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=std)
                nn.init.zeros_(module.bias)
    return model


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 4
    return [(torch.randn(64, 3, 4, 4, generator=generator) + labels[:, None, None, None] - 1.5, labels) for _ in range(8)]


def test_what_is_recommended_mends_what_was_checked_and_the_loop_is_read_together_with_it() -> None:
    model, data = deep(std=0.01), batches()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    known = {"num_classes": 4, "planned_steps": 40, "clip": 5.0}
    dead = trainability.check(model, data, F.cross_entropy, optimizer=optimizer, val_loader=data[:2], **known)
    assert dead.verdict == "dead"
    assert dead.findings[0].code == "gain_budget_low"
    plan = trainability.recommend_init(model, data[0][0])
    assert f'trainability.init_(model, "{plan}", seed=0)' in dead.findings[0].remedy

    def train(before: trainability.Diagnosis) -> trainability.Diagnosis:
        with trainability.Monitor(model, optimizer, every=10, before=before) as monitor:
            for images, labels in data * 5:
                loss = F.cross_entropy(model(images), labels)
                loss.backward()
                monitor.after_backward(loss)
                optimizer.step()
                optimizer.zero_grad()
        return monitor.diagnose()

    during = train(dead)
    assert during.verdict == "dead"
    assert during.evidence.data is not None
    assert len(during.evidence.steps) == 40
    # The plan that was worked out before is what the diagnosis of the loop prescribes, too.
    assert [f.remedy for f in during.findings if f.code == "gain_budget_low"] == [dead.findings[0].remedy]

    assert trainability.init_(model, plan, seed=0) is model
    optimizer.state.clear()
    again = trainability.check(model, data, optimizer=optimizer, **known)
    assert again.evidence.probe is not None
    assert again.evidence.probe.log10_gain == pytest.approx(0, abs=1)
    assert train(again).verdict == "has learned"


def test_check_and_a_setup_say_the_same() -> None:
    data = batches()
    words = {"val_loader": data[:2], "num_classes": 4, "planned_steps": 40}
    model = deep()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    one = trainability.check(model, data, F.cross_entropy, optimizer, **words)
    setup = trainability.Setup(model=model, train_loader=data, loss_fn=F.cross_entropy, optimizer=optimizer, **words)
    assert check_setup(setup) == one
    assert trainability.check(setup) == one
    with pytest.raises(ValueError, match="Setup"):
        trainability.check(setup, data)


def test_init_is_that_of_a_plan_and_takes_its_text() -> None:
    one, other, third = deep(), deep(), deep()
    trainability.init_(one, "xavier:4,he", seed=3)
    trainability.init_(other, InitPlan.parse("xavier:4,he"), seed=3)
    apply(InitPlan.parse("xavier:4,he"), third, seed=3)
    for a, b, c in zip(one.parameters(), other.parameters(), third.parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
    assert float(one[1].weight.detach().std()) == pytest.approx(math.sqrt(2 / (48 + 32)), rel=0.1)
    assert all(not p.any() for name, p in one.named_parameters() if name.endswith("bias"))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(x + torch.relu(self.one(x)))


class Untraceable(Residual):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(x) if x.sum() > 0 else self.one(x)


@pytest.mark.parametrize(
    ("model", "images", "words"),
    [
        (Residual(), torch.randn(4, 8), "gains"),
        (nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)), torch.randn(4, 8), "gains"),
        (Untraceable(), torch.randn(4, 8), "follow"),
        (nn.Sequential(nn.ReLU()), torch.randn(4, 8), "convolution or linear"),
        (nn.Linear(8, 4), torch.arange(8).reshape(1, 8), "float images"),
        (nn.Linear(8, 4), None, "float images"),
        (nn.Linear(8, 4), 1e5 * torch.randn(4, 8), "scale the images"),
    ],
)
def test_where_no_plan_can_be_recommended_it_is_said(model: nn.Module, images: torch.Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        trainability.recommend_init(model, images)


@pytest.mark.parametrize(
    ("model", "plan", "words"),
    [
        (nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), "he", "parametrization"),
        (nn.Sequential(nn.LazyLinear(4)), "he", "weight of 0"),
        (nn.Linear(4, 4).to("meta"), "he", "values"),
        (nn.ReLU(), "he", "convolution or linear"),
        (nn.Linear(4, 4), "hee", "unknown scheme"),
        (nn.Linear(4, 4), "he:2", "for 2 weight layers"),
        (nn.Linear(4, 4), 3, "plan is 3"),
    ],
)
def test_weights_that_cannot_be_drawn_are_refused(model: nn.Module, plan: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        trainability.init_(model, plan, seed=0)


def test_a_model_with_computed_weights_is_checked(recwarn: pytest.WarningsRecorder) -> None:
    model = deep(std=0.01)
    nn.utils.parametrizations.weight_norm(model[1])
    trainability.check(model, batches(), num_classes=4)


def test_check_takes_what_a_setup_has_with_the_same_defaults() -> None:
    fields = {
        field.name: inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
        for field in dataclasses.fields(trainability.Setup)
    }
    taken = {name: parameter.default for name, parameter in inspect.signature(trainability.check).parameters.items()}
    assert taken.pop("train_loader") is None  # since a Setup may be all that is given
    assert fields.pop("train_loader") is inspect.Parameter.empty
    assert taken == fields


class Bare(nn.Module):
    """A weight that belongs to the model itself."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.eye(12))
        self.last = nn.Linear(12, 10)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last(inputs @ self.scale)


@pytest.mark.parametrize(("make", "names"), [(Bare, {"scale", "last"}), (lambda: nn.Linear(12, 10), {"weight"})])
def test_the_model_s_own_weight_has_a_name_in_the_table_of_layers(make: Callable[[], nn.Module], names: set[str]) -> None:
    torch.manual_seed(0)
    loader = [(torch.randn(32, 12), torch.randint(10, (32,))) for _ in range(4)]
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    report = trainability.check(model, loader, optimizer=optimizer)
    assert report.evidence.probe is not None
    made = {layer.name: layer.update_ratio for layer in report.evidence.probe.layers}
    assert made.keys() == names
    assert None not in made.values()
    with trainability.Monitor(model, optimizer, every=1) as monitor:
        for inputs, labels in loader:
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
            optimizer.zero_grad()
    assert {layer.name for layer in monitor.evidence().samples[-1].layers} == names


def test_what_was_not_checked_is_told_by_what_the_user_of_check_passes() -> None:
    loader = [(torch.randn(32, 12), torch.randint(10, (32,))) for _ in range(4)]
    model = nn.Linear(12, 10)
    report = trainability.check(model, loader, rehearse_seconds=None)
    arguments = set(re.findall(r"(\w+)=", " ".join(report.not_checked)))
    assert {"metric", "val_loader", "rehearse_seconds"} <= arguments
    assert arguments - {"overfit_steps"} <= set(inspect.signature(trainability.check).parameters)
    assert not {"audit_metric", "audit_data"} & set(re.findall(r"\w+", " ".join(report.not_checked)))


def test_kernels_are_not_searched_for_meanwhile(monkeypatch) -> None:
    seen: set[bool] = set()  # a list would be put back behind the check

    def loss_fn(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        seen.add(torch.backends.cudnn.benchmark)
        return F.cross_entropy(output, target)

    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    model = nn.Linear(4, 3)
    trainability.check(
        model, [(torch.randn(8, 4), torch.arange(8) % 3)] * 4, loss_fn, optimizer=torch.optim.SGD(model.parameters(), 0.1)
    )
    assert seen == {False}
    assert torch.backends.cudnn.benchmark is True
