"""The list of runs, and runs by name: in every state, damaged ones included."""

import json
import subprocess
from pathlib import Path

import pytest
import runs_on_disk
from conftest import config_of, flags_of

from trainability.cli import program as cli
from trainability.cli.progress import progress_of
from trainability.cli.runs import _widths
from trainability.disk import lock
from trainability.terminal.console import plain_console
from trainability.training.folder_verdict import folder_verdict
from trainability.training.record import RunWriter, read_run, write_json
from trainability.training.run_list import find_run, run_folders, summarise
from trainability.training.run_verdict import run_verdict
from trainability.watch import view
from trainability.watch.state import LiveRun


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a finished, a killed and a damaged run, one of them two folders down."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs"
    finished = runs_on_disk.begin(folder / "digits-B-001", epochs=2)
    for number in (1, 2):
        runs_on_disk.epoch(finished, number, val_top1_error=0.4 - 0.1 * number)
    runs_on_disk.diagnosed(finished, 8, "is training")
    runs_on_disk.end(finished)
    killed = runs_on_disk.begin(folder / "deep" / "er" / "digits-B-001")
    runs_on_disk.epoch(killed, 1)
    damaged = runs_on_disk.begin(folder / "digits-B-002")
    (damaged.folder / "result.json").write_text("[" * 100_000)
    return folder


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    with pytest.raises(SystemExit) as stop:
        cli.main(["runs", "--json", *arguments])
    assert stop.value.code == 0
    return json.loads(capsys.readouterr().out)


def test_every_state_is_listed_with_its_numbers(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in listed(capsys)}
    assert list(rows) == ["deep/er/digits-B-001", "digits-B-001", "digits-B-002"]
    done = rows["digits-B-001"]
    assert (done["state"], done["epoch"], done["epochs"], done["net"], done["data"]) == ("finished", 2, 2, "B", "digits")
    assert done["best_top1_error"] == pytest.approx(0.2)
    assert (done["verdict"], done["train_seconds"]) == ("was still training when it ended", 4.0)
    assert (rows["deep/er/digits-B-001"]["state"], rows["deep/er/digits-B-001"]["epoch"]) == ("killed", 1)
    assert rows["digits-B-002"]["state"] == "damaged"
    assert "result.json" in str(rows["digits-B-002"]["problem"])


@pytest.mark.parametrize(("loss", "verdict"), [(0.01, "has learned"), (2.2, "was still training when it ended")])
def test_a_run_that_has_ended_has_the_same_verdict_everywhere(root: Path, loss: float, verdict: str) -> None:
    folder = root / "digits-B-001"
    assert summarise(folder, root=root).verdict == folder_verdict(folder, "is training")
    killed = root / "deep" / "er" / "digits-B-001"
    assert folder_verdict(killed, "is training") == "was still training when it ended"
    with lock.held(killed):
        assert folder_verdict(killed, "is training") == "is training"
    steps = [{"step": step, "loss": loss} for step in range(9, 2000)]  # longer than what is read of it
    RunWriter(folder).append("steps.jsonl", steps)
    write_json(folder / "data.json", {"class_names": [str(digit) for digit in range(10)]})
    live = LiveRun(folder)
    live.poll()
    assert summarise(folder, root=root).verdict == run_verdict(read_run(folder)) == verdict
    assert verdict.upper() in str(view._verdict(live)[0])


def test_a_run_is_running_while_a_process_holds_it(root: Path) -> None:
    folder = root / "deep" / "er" / "digits-B-001"
    with lock.held(folder):
        assert summarise(folder, root=root).state == "running"
    assert summarise(folder, root=root).state == "killed"


def test_a_listing_refuses_nobody_the_lock(root: Path) -> None:
    folder = root / "digits-B-001"
    (folder / lock.FILE).touch()
    for _ in range(20):
        assert not lock.is_held(folder)
        with lock.held(folder):
            assert lock.is_held(folder)


def test_sorting_and_filters(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    by_error = [row["name"] for row in listed(capsys, "--sort", "error")]
    assert by_error == ["digits-B-001", "deep/er/digits-B-001", "digits-B-002"]
    downwards = [row["name"] for row in listed(capsys, "--sort", "error", "--reverse")]
    assert downwards == ["deep/er/digits-B-001", "digits-B-001", "digits-B-002"], "a run without an error comes last"
    assert [row["name"] for row in listed(capsys, "--only", "state=kill")] == ["deep/er/digits-B-001"]
    assert listed(capsys, "--only", "state=finished", "name=002") == []


@pytest.mark.parametrize("arguments", [("nowhere",), ("--only", "speed=3"), ("--only", "B"), ("--sort", "speed")])
def test_what_cannot_be_listed(root: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["runs", *arguments])
    said = capsys.readouterr()
    assert (stop.value.code, said.out, said.err.count("\n")) == (2, "", 1)


def test_every_name_is_printed_whole_in_eighty_columns(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        cli.main(["runs"])
    printed = capsys.readouterr().out
    assert "digits-B-001" in printed
    assert "20.00 %" in printed
    assert "error: " in printed
    with pytest.raises(SystemExit):
        cli.main(["runs", "--only", "name=002"])  # without an evaluation there is no column
    assert "best top-1" not in capsys.readouterr().out


def test_in_a_narrow_terminal_long_names_are_broken_and_no_column_is_lost() -> None:
    net = "BertForSequenceClassification"
    columns = {
        "run": ["digits-B-001", "mine"],
        "arguments": ["-", "--fault --learning-rate 0.001"],
        "net": ["B", net],
        "state": ["finished"] * 2,
        "error": ["99.50 %"] * 2,
        "verdict": ["has learned", "was still training when it ended"],
    }
    for width in (60, 80, 100):
        widths = _widths(columns, width)
        assert sum(widths.values()) + 2 * len(widths) <= width
        assert widths["run"] == len("digits-B-001")
        assert min(widths.values()) >= 6
    assert _widths(columns, 30).keys() == columns.keys()


def test_a_run_by_its_path_or_its_name(root: Path) -> None:
    assert find_run(root / "digits-B-001") == root / "digits-B-001"
    assert find_run("digits-B-001") == Path("runs/digits-B-001")
    assert find_run("deep/er/digits-B-001") == Path("runs/deep/er/digits-B-001")
    for wrong, near in (("digits-B-003", "digits-B-00"), (root, "config.toml"), ("elsewhere", "runs")):
        with pytest.raises(ValueError, match=near) as refused:
            find_run(wrong)
        assert "\n" not in str(refused.value)
    for name in ("Sequential", "Sequential-2"):
        (root / "gan-001" / name).mkdir(parents=True)
        (root / "gan-001" / name / "loop.json").write_text("{}")
    with pytest.raises(ValueError, match=r"gan-001/Sequential and .*gan-001/Sequential-2; choose one"):
        find_run("gan-001")


def test_run_directories_are_not_searched_for_further_ones(root: Path) -> None:
    inside = root / "digits-B-001" / "checkpoints" / "copy"
    inside.mkdir(parents=True)
    (inside / "config.toml").write_text("")
    assert len(list(run_folders(root))) == 3


def test_resume_takes_a_name(root: Path, command) -> None:
    made = command("train", *flags_of(config_of(optim__epochs=1)), "--run.dir", "runs/mine")
    assert made.returncode == 0, made.stderr
    again = command("train", "--resume", "mine")
    assert again.returncode == 2
    assert "runs/mine is finished" in again.stderr


def test_one_process_shards_nothing_and_says_so(root: Path, command) -> None:
    made = command("train", *flags_of(config_of(optim__epochs=1)), "--run.dir", "runs/one", "--run.parallel", "sharded")
    assert made.returncode == 0, made.stderr
    assert "run.parallel sharded" in made.stderr
    assert 'parallel = "ddp"' in (root / "one" / "config.toml").read_text()


def test_a_shell_completes_commands_and_flags(command, tmp_path: Path) -> None:
    made = command("completion", "bash")
    assert made.returncode == 0, made.stderr
    script = tmp_path / "completion.sh"
    script.write_text(made.stdout)
    for typed, wanted in (
        (["trainability", "expl"], "explain"),
        (["trainability", "train", "--optim.mom"], "--optim.momentum"),
    ):
        line = " ".join(typed)
        asked = subprocess.run(
            [
                "bash",
                "-c",
                f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(typed) - 1}; COMP_LINE='{line}';"
                f" COMP_POINT={len(line)}; _tyro_trainability; echo ${{COMPREPLY[@]}}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert wanted in asked.stdout.split(), asked


def test_without_a_terminal_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(0, 3000, 3))
    monkeypatch.setattr("trainability.cli.progress.time.monotonic", lambda: next(seconds))
    with progress_of(plain_console()) as progress:
        for done in range(100):
            progress("packing", done, 60_000)
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert 15 < len(lines) < 50
    assert all(line.endswith(" of 60,000") for line in lines)
