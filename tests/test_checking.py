"""`trainability check`, on a configuration and on a stranger's model."""

import json
from pathlib import Path

import pytest
from conftest import config_of, flags_of

from trainability.checking.setup import check_config
from trainability.cli import program as cli
from trainability.doctor import predict, weight_moments
from trainability.doctor.theory.moments import SignalMoments
from trainability.doctor.theory.trace import trace
from trainability.initialization import InitPlan, apply
from trainability.models.vgg import build_vgg
from trainability.prescribe.plans import promised_moments, ranked

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
    structure = trace(model, (2, 3, 64, 64))
    best = ranked(model, structure, SignalMoments(mean_square=mean_square))[0]
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
    assert "Layers at the start: gain budget" in good.stdout
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
    return Setup(model=model, train=batches(), optimizer=torch.optim.SGD(model.parameters(), lr=0.01), num_classes=4)

def metric(): return dataclasses.replace(good(), metric=last_batch)
def empty(): return dataclasses.replace(good(), train=[])
def names(): return dataclasses.replace(good(), train=["ab"])
def vector(): return dataclasses.replace(good(), loss=nn.CrossEntropyLoss(reduction="none"))
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
def no_loader(): return dataclasses.replace(good(), train=7)
def arrays(): return dataclasses.replace(good(), train=[(images.numpy(), labels) for images, labels in batches()])
def lists(): return dataclasses.replace(good(), train=[(images, labels.tolist()) for images, labels in batches()])
def breaks():
    def read():
        yield batches()[0]
        raise OSError("disk gone")
    return dataclasses.replace(good(), train=read())
def once(): return dataclasses.replace(good(), train=iter(batches()[:1]))
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
        ("my_training:empty", "the train loader is empty"),
        ("my_training:names", "yields str"),
        ("my_training:vector", "expected a tensor with one number"),
        ("my_training:pair", "tuple of 2"),
        ("my_training:narrow", "failed on images of shape (32, 3, 4, 4)"),
        ("my_training:fails", "fails() failed (KeyError: 'no such file')"),
        ("my_training:leaves", "leaves() failed (SystemExit: 5)"),
        ("my_training:no_model", "Setup.model is a NoneType"),
        ("my_training:on_meta", "Setup.model is on the meta device"),
        ("my_training:no_loader", "Setup.train is a int"),
        ("my_training:arrays", "yields (ndarray, Tensor)"),
        ("my_training:lists", "loss_fn(model(images), labels) failed"),
        ("my_training:breaks", "a loader failed: OSError: disk gone"),
        ("my_training:three", "returned int; expected a trainability.Setup"),
        ("my_training:nothing", "has no function nothing"),
        ("nowhere_at_all:setup", "does not import"),
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
