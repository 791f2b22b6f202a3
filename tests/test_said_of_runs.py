"""What is said of a run's loss is true: whether it has fallen, what would tell more, and no success or death beside it."""

import dataclasses
import math
import re
from pathlib import Path

import pytest
import torch
from rule_examples import steps
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Evidence, Monitor, diagnose
from trainability.doctor.evidence import Sample
from trainability.doctor.experiment_table import ExperimentTable
from trainability.doctor.reading import recent_loss
from trainability.loops.saying import say_not_looked_at
from trainability.report import other_loop
from trainability.training.record import read_run


def a_run(first: float, last: float, num: int, num_classes: int | None = 10, **fields: object) -> Evidence:
    """Losses on a straight line, which vary by 2 % from batch to batch."""
    losses = [(first + (last - first) * i / max(num - 1, 1)) * (1 + 0.02 * (i % 3 - 1)) for i in range(num)]
    return dataclasses.replace(Evidence(steps=steps(losses), num_classes=num_classes), **fields)


@pytest.mark.parametrize("num_classes", [10, None])
@pytest.mark.parametrize(("first", "last", "num"), [(2.6, 2.15, 100), (2.3, 2.1, 60), (2.4, 1.0, 30), (2.31, 2.2, 90)])
def test_a_fall_that_is_too_small_to_tell_is_told(first: float, last: float, num: int, num_classes: int | None) -> None:
    found = diagnose(a_run(first, last, num, num_classes))
    if found.verdict == "cannot tell":
        assert "has not fallen" not in found.reason
        assert "would tell" in found.reason
    assert (found.verdict == "cannot tell") or num_classes is None
    assert "the loss is down to" in found.reason


@pytest.mark.parametrize("num", [1, 2, 20, 60])
def test_a_loss_that_stays_has_not_fallen(num: int) -> None:
    found = diagnose(a_run(2.3, 2.3, num))
    assert (found.verdict, found.reason.endswith("the loss has not fallen yet")) == ("cannot tell", True)


@pytest.mark.parametrize("num", [2, 5, 6, 12, 30])
def test_a_loss_that_falls_from_step_to_step_is_not_said_to_stay(num: int) -> None:
    found = diagnose(Evidence(steps=steps([math.exp(-0.4 * i) for i in range(num)])))
    assert found.verdict == "cannot tell"
    assert "has not fallen" not in found.reason
    assert "the loss is down to" in found.reason or num < 12  # with fewer, where it went is enough
    assert "40 steps would tell more" in found.reason


def told(cost: float, at: range) -> tuple[Sample, ...]:
    """Sampled steps, of which each told what the mean of the targets costs."""
    seen = [Sample(step=n, layers=(), batch_size=64, training=True, task_loss="mse_loss", constant_loss=cost) for n in at]
    return tuple(seen)


@pytest.mark.parametrize("num", [100, 200, 400])
def test_what_would_tell_is_a_loss_and_no_number_of_steps(num: int) -> None:
    """A loss that is still above what one answer for all costs, and still falls."""
    found = diagnose(a_run(2.0, 1.0, num, None, samples=told(1.0, range(1, num, 10))))
    assert found.verdict == "cannot tell"
    assert "it still falls; a loss below 0." in found.reason
    assert "steps would tell" not in found.reason


def test_a_sentence_says_why_one_falling_loss_has_learned_and_another_has_not() -> None:
    of_classes = diagnose(dataclasses.replace(a_run(2.3, 0.5, 200), has_ended=True))
    unknown = diagnose(dataclasses.replace(a_run(2.3, 0.5, 200, None), has_ended=True))
    assert of_classes.verdict == "has learned"
    assert "chance, the logarithm of the number of classes, is 2.3" in of_classes.reason
    assert unknown.verdict == "was still training when it ended"
    assert "the loss of a model that has learned nothing is not known" in unknown.reason


class OutOfReach(nn.Module):
    """Tables in a list, which the model does not register, beside a network; alone they are all that there is."""

    def __init__(self, *, alone: bool) -> None:
        super().__init__()
        self.tables = [nn.Embedding(4, 8)]
        self.net = nn.Linear(16, 1)
        self.alone = alone

    def forward(self, kinds: Tensor, x: Tensor) -> Tensor:
        x = torch.zeros_like(x) if self.alone else x
        return self.net(torch.cat([self.tables[0](kinds), x], dim=1)).squeeze(1)


def test_what_is_not_trained_does_not_make_a_run_dead_whose_loss_falls() -> None:
    torch.manual_seed(0)
    kinds, x = torch.randint(4, (512,)), torch.randn(512, 8)
    y = x[:, 0] - x[:, 1] + 0.3 * kinds
    model = OutOfReach(alone=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with Monitor(model, optimizer, every=20) as monitor:
        for _ in range(15):
            for rows in torch.randperm(512).split(64):
                optimizer.zero_grad()
                loss = F.smooth_l1_loss(model(kinds[rows], x[rows]), y[rows])
                loss.backward()
                monitor.after_backward(loss)
                optimizer.step()
    found = monitor.diagnose()
    assert "unregistered_layers" in [f.rule for f in found.findings if f.severity == "error"]
    assert found.verdict == "cannot tell"
    assert "the loss is down to" in found.reason
    assert found.asks_for_change


def test_what_is_dead_stays_dead() -> None:
    """No gradient comes to any weight: the loss stays where it is."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    with torch.no_grad():
        model[0].bias.fill_(-1e3)
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.01)
    with Monitor(model, optimizer, every=20) as monitor:
        for _ in range(60):
            x = torch.randn(64, 8)
            optimizer.zero_grad()
            loss = F.mse_loss(model(x).squeeze(1), x[:, 0])
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    found = monitor.diagnose()
    assert math.isfinite(found.evidence.steps[-1].loss)
    assert found.verdict == "dead", found


def test_an_autoencoder_is_not_told_to_print_labels() -> None:
    samples = tuple(dataclasses.replace(each, task_loss="reconstruction") for each in told(1.0, range(1, 400, 10)))
    found = diagnose(a_run(1.0, 1.0, 400, None, samples=samples))
    (remedy,) = [f.remedy for f in found.findings if f.rule == "constant_as_good"]
    assert "labels" not in remedy
    assert "a smaller weight for the terms beside the reconstruction error" in remedy
    (other,) = [f.remedy for f in diagnose(a_run(1.0, 1.0, 400, None, samples=told(1.0, range(1, 400, 10)))).findings]
    assert "print ten inputs with their labels" in other


def test_the_report_gives_the_loss_that_the_verdict_uses(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Monitor(model, optimizer, every=20, run=tmp_path / "run") as monitor:
        for _ in range(60):
            x = torch.randn(4, 4)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), x[:, :3].argmax(1))
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    run = read_run(tmp_path / "run")
    (tile,) = other_loop.headlines(run)
    assert tile.value == f"{recent_loss(monitor.evidence()):.4g}"
    assert tile.details == ("Mean of the last 20 steps, to step 60",)
    (evaluations,) = [tile for tile in other_loop.tiles(run) if tile.label == "Evaluations"]
    assert (evaluations.value, evaluations.details) == ("0", ("None recorded; the loop's own are not looked at",))


def test_one_change_that_does_not_apply_is_one() -> None:
    table = ExperimentTable(title="", rows=(), confirmed=(), left_out=(), notes=(), inapplicable=1)
    assert table.not_applied == "1 other change does not apply to this program"
    assert dataclasses.replace(table, inapplicable=2).not_applied == "2 other changes do not apply to this program"


def test_percentages_are_written_in_one_way() -> None:
    source = Path(__file__).parents[1] / "src"
    assert not [path for path in source.rglob("*.py") if re.search(r":[.0-9]*%\}", path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("evaluations", [True, False])
@pytest.mark.parametrize("data", [True, False])
def test_what_was_not_looked_at_speaks_of_data_and_evaluations_only_where_none_were(
    data: bool, evaluations: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    say_not_looked_at(data=data, evaluations=evaluations)
    said = " ".join(capsys.readouterr().err.split())
    assert ("most of the data" in said) == (not data)
    assert ("No evaluation" in said) == (not evaluations)
