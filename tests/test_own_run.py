"""Monitor(run=...): the run directory of anybody's loop, and that everything which reads one reads it."""

import io
import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from browser import CHROMIUM, visit
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

import trainability
from trainability import Monitor, read_run
from trainability.cli.program import main
from trainability.report.compare import write_comparison
from trainability.report.figures import metric_figure
from trainability.report.html import legend_of, render, write_report
from trainability.report.other_loop import tiles
from trainability.training.run_monitor import diagnose_run, read_evidence
from trainability.watch.screen import EventLines
from trainability.watch.state import LiveRun
from trainability.watch.view import view


def program(seed: int = 0) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def batches(num: int) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(num):
        labels = torch.randint(4, (32,), generator=generator)
        yield F.one_hot(labels, 16).float() + 0.3 * torch.randn(32, 16, generator=generator), labels


def train(monitor: Monitor, model: nn.Module, optimizer: torch.optim.Optimizer, num: int = 60, clear: bool = True) -> None:
    for step, (images, labels) in enumerate(batches(num), start=1):
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        monitor.after_backward(loss)
        optimizer.step()
        if clear:
            optimizer.zero_grad()
        if step % 20 == 0:
            monitor.record_evaluation("validation", loss=loss.item(), top1_error=0.25 / step)


def recorded(folder: Path, *, clear: bool = True, num: int = 60, **more: object) -> Monitor:
    model, optimizer = program()
    with Monitor(model, optimizer, every=10, run=folder, **more) as monitor:  # type: ignore[arg-type]
        train(monitor, model, optimizer, num, clear)
    return monitor


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


def test_it_writes_what_train_writes(tmp_path: Path) -> None:
    config = {"lr": 0.1, "net": {"depth": 3, "device": torch.device("cpu")}}
    monitor = recorded(tmp_path / "mine", config=config, num_classes=4)
    run = read_run(tmp_path / "mine")
    assert [row["step"] for row in run.steps] == list(range(1, 61))
    assert [row["step"] for row in run.evaluations] == [20, 40, 60]
    assert sorted({row["step"] for row in run.layers}) == [1, 11, 21, 31, 41, 51]
    assert {row["name"] for row in run.layers} == {"0", "2", "4"}
    assert run.loop["config"] == {"lr": 0.1, "net": {"depth": 3, "device": "cpu"}}
    assert run.loop["model"] == "Sequential"
    assert run.loop["num_parameters"] == 16 * 32 + 32 + 32 * 32 + 32 + 32 * 4 + 4
    assert run.config is None
    assert run.result is not None
    assert (run.result["status"], run.result["step"]) == ("finished", 60)
    seen = monitor.evidence()
    assert [row["loss"] for row in run.steps] == [record.loss for record in seen.steps]
    assert read_evidence(run).steps == seen.steps
    assert diagnose_run(tmp_path / "mine").verdict == monitor.diagnose().verdict == run.findings["verdict"]


def test_weights_are_bitwise_identical_with_and_without_it(tmp_path: Path) -> None:
    monitored, optimizer = program()
    with Monitor(monitored, optimizer, every=1, run=tmp_path / "mine") as monitor:
        train(monitor, monitored, optimizer)
    plain, optimizer = program()
    for images, labels in batches(60):
        F.cross_entropy(plain(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    for one, other in zip(monitored.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)


def test_findings_are_written_when_they_arise(tmp_path: Path) -> None:
    heard: list[tuple[int, str]] = []
    recorded(tmp_path / "mine", clear=False, num=200, on_finding=lambda step, finding: heard.append((step, finding.rule)))
    run = read_run(tmp_path / "mine")
    assert run.findings is not None
    assert "missing_zero_grad" in {finding["rule"] for finding in run.findings["findings"]}
    rows = [(row["step"], row["rule"]) for row in run.finding_events]
    assert rows == heard
    assert {rule: step for step, rule in rows}["missing_zero_grad"] < 60


def test_a_loop_that_fails_or_is_stopped_says_so(tmp_path: Path) -> None:
    model, optimizer = program()
    for error, status in ((ZeroDivisionError("one\ntwo"), "failed"), (KeyboardInterrupt(), "interrupted")):

        def loop(error: BaseException = error, status: str = status) -> None:
            with Monitor(model, optimizer, run=tmp_path / status) as monitor:
                train(monitor, model, optimizer, 3)
                raise error

        with pytest.raises(type(error)):
            loop()
        result = read_run(tmp_path / status).result
        assert result is not None
        assert result["status"] == status
        assert len(read_run(tmp_path / status).steps) == 3
    assert "ZeroDivisionError: one" in result["message"] or status == "interrupted"


def test_a_second_run_takes_the_next_free_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert recorded(Path("runs/mine"), num=2).run == Path("runs/mine")
    (tmp_path / "runs/mine-007x").mkdir()
    assert not capsys.readouterr().err
    for name in ("mine-002", "mine-003"):
        assert recorded(Path("runs/mine"), num=3).run == Path("runs", name)
        told = capsys.readouterr().err.split()
        assert told.count("trainability:") == 1
        assert {"runs/mine", f"runs/{name}"} <= set(told)
        assert len(read_run(tmp_path / "runs" / name).steps) == 3
    assert len(read_run(tmp_path / "runs/mine").steps) == 2


def test_a_monitor_that_is_entered_again_goes_on_from_the_name_that_was_asked(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    monitor, names = Monitor(model, optimizer, run=tmp_path / "mine"), []
    for _ in range(3):
        with monitor:
            loss = model(torch.randn(8, 4)).square().mean()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
        names.append(monitor.run.name if monitor.run is not None else None)
    assert names == ["mine", "mine-002", "mine-003"]


def test_sinks_write_into_the_directory_that_is_taken(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for folder in (tmp_path / "mine", tmp_path / "mine-002"):
        assert recorded(tmp_path / "mine", num=2, sinks=("tensorboard",)).run == folder
        assert len(list((folder / "tensorboard").iterdir())) == 1


def test_speed_is_the_median_and_is_measured_while_the_loop_steps(tmp_path: Path) -> None:
    model, optimizer = program()
    began = time.perf_counter()
    with Monitor(model, optimizer, every=10, run=tmp_path / "mine") as monitor:
        train(monitor, model, optimizer, 55)
        stepping = time.perf_counter() - began
        time.sleep(0.5)  # what a program does behind its last step
        monitor.diagnose()
    run = read_run(tmp_path / "mine")
    rows = [(row["step"], row["steps_per_second"]) for row in run.steps if "steps_per_second" in row]
    steps, speeds = zip(*rows, strict=True)
    assert {1, 11, 21, 31, 41, 51, 55} <= set(steps)  # a look between them, where there is time for one, reads more
    assert sum((step - last) / speed for last, (step, speed) in zip((0, *steps), rows, strict=False)) <= stepping
    (tile,) = [tile for tile in tiles(run) if tile.label == "Steps/s"]
    assert tile.value == f"{statistics.median(speeds[1:]):,.1f}"


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    model, optimizer = program()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot be written"), Monitor(model, optimizer, run=tmp_path / "file"):
        pass


@pytest.mark.parametrize("wrong", [{"sinks": ("tensorbord",)}, {"sinks": "wandb"}, {"config": [1]}])
def test_wrong_arguments_are_one_line(tmp_path: Path, wrong: dict) -> None:
    model, optimizer = program()
    with pytest.raises(ValueError, match="expected"):
        Monitor(model, optimizer, run=tmp_path / "mine", **wrong)
    with pytest.raises(ValueError, match="give run="):
        Monitor(model, optimizer, config={"lr": 1})


def test_report_watch_diagnose_and_comparison_read_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(tmp_path / "one", config={"lr": 0.1, "seed": 0}, num_classes=4)
    recorded(tmp_path / "two", config={"lr": 0.2, "seed": 0}, clear=False)
    page = render(read_run(tmp_path / "one"))
    assert "Sequential in one" in page
    assert "VGG" not in page.split("<script")[0]
    assert write_report(tmp_path / "two").exists()
    compared = write_comparison([tmp_path / "one", tmp_path / "two"]).read_text()
    assert "0.2" in compared
    live = LiveRun(tmp_path / "one")
    lines = list(EventLines(live).news())
    assert lines[0].startswith("Sequential in one")
    assert lines[-1].startswith("finished after 60 steps")
    assert sum(line.startswith("step ") and "val loss" in line for line in lines) == 3
    view(live, width=100, height=40)
    assert exit_code("diagnose", str(tmp_path / "one")) == 0
    assert exit_code("diagnose", str(tmp_path / "two")) == 1
    assert exit_code("watch", str(tmp_path / "one"), "--once") == 0
    capsys.readouterr()
    assert exit_code("runs", str(tmp_path), "--json") == 0
    assert [(row["name"], row["net"], row["state"]) for row in json.loads(capsys.readouterr().out)] == [
        ("one", "Sequential", "finished"),
        ("two", "Sequential", "finished"),
    ]
    assert exit_code("report", str(tmp_path / "one"), str(tmp_path / "two")) == 0
    for command in (["evaluate"], ["errors"], ["train", "--resume"]):
        assert exit_code(*command, str(tmp_path / "one")) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_its_loss_stands_beside_what_chance_costs_though_nobody_told_the_classes(tmp_path: Path) -> None:
    recorded(tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert run.loop.get("num_classes") is None
    loss = metric_figure(run, "loss")
    assert loss.plot is not None
    assert [line["y0"] for line in loss.plot["layout"]["shapes"] if line["name"] == "chance"] == [pytest.approx(math.log(4))]
    assert legend_of([loss]).keys() == {"train-step", "validation", "chance"}
    console = Console(width=100, file=io.StringIO())
    console.print(view(LiveRun(tmp_path / "run"), width=100, height=40))
    assert isinstance(console.file, io.StringIO)
    assert "chance 1.386" in console.file.getvalue()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.browser
def test_its_page_opens_without_an_error(tmp_path: Path) -> None:
    recorded(tmp_path / "one", config={"lr": 0.1})
    seen = visit(write_report(tmp_path / "one"), tmp_path)
    assert (seen.console, seen.requests) == ([], [])


def test_it_opens_at_every_byte(tmp_path: Path) -> None:
    """Each appended file cut anywhere, and each replaced file there or not yet, as a kill leaves them."""
    recorded(tmp_path / "whole", num=30, num_classes=4)
    appended = ["steps.jsonl", "layers.jsonl", "evaluations.jsonl", "findings.jsonl"]
    replaced = ["environment.json", "findings.json", "evidence.json", "result.json"]
    copy, whole = tmp_path / "cut", read_run(tmp_path / "whole")
    lengths = set()
    for seed in range(40):
        shutil.copytree(tmp_path / "whole", copy)
        pick = torch.Generator().manual_seed(seed)
        for name in appended:
            data = (copy / name).read_bytes() if (copy / name).exists() else b""
            (copy / name).write_bytes(data[: int(torch.randint(len(data) + 1, (1,), generator=pick))])
        for name in replaced:
            if bool(torch.randint(2, (1,), generator=pick)):
                (copy / name).unlink(missing_ok=True)
        diagnose_run(copy)
        cut = read_run(copy)
        assert cut.steps == whole.steps[: len(cut.steps)]
        assert cut.layers == whole.layers[: len(cut.layers)]
        assert "Training report" in render(cut)
        view(LiveRun(copy), width=80, height=30)
        lengths.add(len(cut.steps))
        shutil.rmtree(copy)
    assert min(lengths) < 5 < 20 < max(lengths)  # from near the start to near the end


KILLED = """
import sys, torch
sys.path.insert(0, {tests!r})
from test_own_run import *
model, optimizer = program()
with Monitor(model, optimizer, every=5, run={folder!r}) as monitor:
    train(monitor, model, optimizer, 10**6)
"""


def test_a_killed_process_leaves_a_run_that_opens(tmp_path: Path) -> None:
    script = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "mine"))
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    try:
        steps = tmp_path / "mine" / "steps.jsonl"
        while process.poll() is None and not (steps.exists() and steps.stat().st_size > 20_000):
            pass
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    run = read_run(tmp_path / "mine")
    assert run.result is None
    assert [row["step"] for row in run.steps] == list(range(1, len(run.steps) + 1))
    assert read_evidence(run).steps[-1].step == len(run.steps)
    render(run)
    assert recorded(tmp_path / "mine", num=1).run == tmp_path / "mine-002"


def test_a_full_disk_does_not_stop_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, optimizer = program()
    monitor = Monitor(model, optimizer, every=5, run=tmp_path / "mine")

    def loop() -> None:
        with monitor:
            train(monitor, model, optimizer, 10)
            monkeypatch.setattr("trainability.training.record.RunWriter.append", _full)
            train(monitor, model, optimizer, 10)

    with pytest.warns(RuntimeWarning, match="nothing is written from here on"):
        loop()
    assert monitor.evidence().steps[-1].step == 20
    assert len(monitor.evidence().samples) == 4


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


DISTRIBUTED = """
import sys, torch
import torch.distributed as dist
sys.path.insert(0, {tests!r})
from test_own_run import *
dist.init_process_group("gloo")
model, optimizer = program()
network = torch.nn.parallel.DistributedDataParallel(model)
with Monitor(network, optimizer, every=5, run={folder!r}) as monitor:
    train(monitor, network, optimizer, 10)
assert len(monitor.evidence().steps) == 10
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_rank_0_writes_under_ddp(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(DISTRIBUTED.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "mine")))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    run = read_run(tmp_path / "mine")
    assert [row["step"] for row in run.steps] == list(range(1, 11))
    assert run.environment["world_size"] == 2


def test_tensorboard_gets_scalars_histograms_and_findings(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recorded(tmp_path / "mine", clear=False, sinks=("tensorboard",))
    events = EventAccumulator(str(tmp_path / "mine" / "tensorboard"), size_guidance={"histograms": 0, "scalars": 0})
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 61))
    assert [event.step for event in events.Histograms("gradient/0")] == [1, 11, 21, 31, 41, 51]
    assert any("missing_zero_grad" in tag for tag in events.Tags()["tensors"])


def test_wandb_joins_the_run_under_way_and_leaves_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    own = wandb.init(project="own", dir=str(tmp_path))
    alerts: list[str] = []
    monkeypatch.setattr(type(own), "alert", lambda self, title, text, **_: alerts.append(title))
    model, optimizer = program()
    with Monitor(model, optimizer, every=10, run=tmp_path / "mine", sinks=("wandb",)) as monitor:
        for step in range(3):
            own.log({"mine": step}, step=step)
            train(monitor, model, optimizer, 20, clear=False)
            assert own.step == step  # a row of the sink would have advanced it
    assert wandb.run is own  # not finished by the monitor
    own.finish()
    assert "finding/missing_zero_grad" in alerts
    assert json.loads((tmp_path / "mine" / "result.json").read_text())["status"] == "finished"
    assert trainability.read_run(tmp_path / "mine").steps
