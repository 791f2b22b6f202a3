"""A run has one verdict, in the tense of its state, wherever it is seen."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import trainability
from trainability.cli import program as cli
from trainability.doctor.tense import in_tense
from trainability.doctor.view import tone
from trainability.loops import monitor as loops_monitor
from trainability.loops.saying import say_verdict
from trainability.report.compare import result_rows
from trainability.training.run_state import has_ended
from trainability.watch import view
from trainability.watch.screen import EventLines
from trainability.watch.state import LiveRun

STILL = "was still training when it ended"
LEARNED_RATE, SLOW_RATE = 0.3, 0.02
ENDINGS = {
    "running": (LEARNED_RATE, "running", "is training"),
    "finished and learned": (LEARNED_RATE, "finished", "has learned"),
    "finished and still falling": (SLOW_RATE, "finished", STILL),
    "stopped early and learned": (LEARNED_RATE, "interrupted", "has learned"),
    "stopped early": (SLOW_RATE, "interrupted", STILL),
    "failed": (SLOW_RATE, "failed", STILL),
    "killed and learned": (LEARNED_RATE, "killed", "has learned"),
    "killed": (SLOW_RATE, "killed", STILL),
}
ERRORS = {"interrupted": KeyboardInterrupt(), "failed": RuntimeError("the user's own")}


@pytest.fixture(autouse=True)
def _every_sample_is_diagnosed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(loops_monitor, "_FIRST_LOOKS", 100)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(tmp_path)


@contextlib.contextmanager
def trained(rate: float, ending: str) -> Iterator[tuple[trainability.Monitor, Path]]:
    """A small run in one of the states, and what watched it; its loss falls to the last step."""
    torch.manual_seed(0)
    model = nn.Linear(8, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    images = torch.randn(64, 8)
    labels = images[:, :4].argmax(1)
    folder = Path("runs/mine")
    with (
        contextlib.suppress(KeyboardInterrupt, RuntimeError),
        trainability.Monitor(model, optimizer, every=15, num_classes=4, run=folder) as monitor,
    ):
        for _ in range(61):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
        if ending == "running":
            yield monitor, folder
        if ending == "killed":
            shutil.copytree(folder, "runs/killed")  # as a kill at this moment leaves it
        if ending in ERRORS:
            raise ERRORS[ending]
    if ending == "killed":
        shutil.rmtree(folder)
        Path("runs/killed").rename(folder)
    if ending != "running":
        yield monitor, folder


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit):
        cli.main(list(arguments))
    return capsys.readouterr().out


@pytest.mark.parametrize("name", ENDINGS)
def test_one_verdict_everywhere(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    rate, ending, verdict = ENDINGS[name]
    with trained(rate, ending) as (monitor, folder):
        said = {}
        if ending != "killed":  # of a process that was killed there is no Monitor left
            diagnosis = monitor.diagnose()
            said["Monitor.diagnose()"] = diagnosis.verdict
            assert str(diagnosis).lower().startswith(verdict)
            assert verdict in diagnosis._repr_html_().lower()
            say_verdict("", diagnosis)
            assert f"trainability: {verdict}: " in " ".join(capsys.readouterr().err.split())
        run = trainability.read_run(folder)
        said["diagnose --json"] = json.loads(printed(capsys, "diagnose", "mine", "--json"))["verdict"]
        (row,) = json.loads(printed(capsys, "runs", "--json"))
        said["runs --json"] = row["verdict"]
        if ending not in ("running", "killed"):
            assert run.findings is not None
            said["findings.json"] = run.findings["verdict"]
        assert set(said.values()) == {verdict}, said
        assert row["state"] == ending
        assert verdict.upper() in printed(capsys, "diagnose", "mine").upper()
        listed = " ".join(printed(capsys, "runs").split())
        assert f"{ending} {verdict}" in listed  # a loop without epochs counts none
        live = LiveRun(folder)
        assert verdict.upper() in str(view._verdict(live)[0])
        assert any(verdict in line for line in EventLines(live).news())
        for page in (run._repr_html_(), trainability.write_report(folder).read_text(encoding="utf-8")):
            assert verdict in page.lower()
            assert not any(other in page.lower() for other in {"is training", "has learned", STILL} - {verdict})
        compared = dict(result_rows([run, run]))["Verdict"]
        assert set(compared) == {verdict}


def test_a_loop_that_goes_on_is_training_again() -> None:
    with trained(LEARNED_RATE, "finished") as (monitor, _):
        ended = monitor.evidence()
    assert ended.has_ended
    assert trainability.Evidence.from_dict(ended.to_dict()).has_ended
    model = nn.Linear(8, 4)
    again = trainability.Monitor(model, torch.optim.SGD(model.parameters(), lr=0.1), before=ended)
    with again:
        assert again.diagnose().verdict == "is training"
    assert again.diagnose().verdict == "has learned"
    assert ended.merge(trainability.Evidence(num_classes=4)).has_ended


@pytest.mark.parametrize(
    ("recent", "chance", "word"), [(0.75, 1.0, "has learned"), (0.76, 1.0, STILL), (None, 1.0, STILL), (0.1, None, STILL)]
)
def test_a_verdict_in_its_tense(recent: float | None, chance: float | None, word: str) -> None:
    assert in_tense("is training", has_ended=True, recent=recent, chance=chance) == word
    assert in_tense("is training", has_ended=False, recent=recent, chance=chance) == "is training"
    assert in_tense("dead", has_ended=True, recent=recent, chance=chance) == "dead"
    assert tone(word) == tone("is training") == "good"


def test_where_there_are_no_locks_a_run_without_an_end_is_not_called_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".lock").touch()
    assert has_ended(tmp_path, None)

    def refuse(*_: object) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr("fcntl.flock", refuse)
    assert not has_ended(tmp_path, None)
    assert has_ended(tmp_path, {"status": "finished"})


def test_a_run_that_is_not_finite_says_since_when_beside_its_cause() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    with trainability.Monitor(model, optimizer) as monitor:
        for _ in range(20):
            inputs = 100 * torch.rand(32, 4)
            loss = F.mse_loss(model(inputs), inputs.sum(dim=1, keepdim=True))
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
            losses.append(loss.item())
    since = 1 + next(i for i, value in enumerate(losses) if not torch.isfinite(torch.tensor(value)))
    diagnosis = monitor.diagnose()
    assert diagnosis.findings[0].rule == "input_scale"
    assert f"since step {since};" in diagnosis.reason


def test_a_regression_that_has_come_to_rest_far_below_its_targets_mean_has_learned() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with trainability.Monitor(model, optimizer, every=20) as monitor:
        for _ in range(400):
            inputs = torch.randn(64, 4)
            targets = inputs.sum(dim=1, keepdim=True) + 0.3 * torch.randn(64, 1)
            loss = F.mse_loss(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert loss.item() < 0.3 * targets.var().item()
    assert monitor.diagnose().verdict == "has learned"
