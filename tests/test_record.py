"""The run directory: complete, and readable whatever killed its run."""

import dataclasses
import json
import math
import re
from pathlib import Path

import pytest
import runs_on_disk
import torch
from conftest import config_of, train

from trainability import config as configuration
from trainability.training import checkpoint
from trainability.training.checkpoint import EpochSums, Position
from trainability.training.engine import Engine
from trainability.training.record import EVALUATIONS, FINDING_EVENTS, STEPS, RunWriter, next_folder, read_rows, read_run
from trainability.training.schedule import Plateau


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    return train(tmp_path_factory.mktemp("runs") / "one", config_of(run__monitor_every_steps=5))


def test_a_run_directory_is_complete(trained) -> None:
    run = trained.run
    names = {path.name for path in run.folder.iterdir()}
    wanted = {"config.toml", "environment.json", "data.json", "init.json", "steps.jsonl", "layers.jsonl", "evaluations.jsonl"}
    assert wanted | {"checkpoints", "result.json", "findings.json", "findings.jsonl", "evidence.json"} == names
    assert [row["step"] for row in run.steps] == list(range(1, 25))
    assert [row["epoch"] for row in run.evaluations] == [1, 2]
    assert {row["step"] for row in run.layers} == {1, 6, 11, 16, 21}
    assert run.result["status"] == "finished"
    assert len(run.init) == 11
    assert run.data["num_val"] == 359
    assert run.environment["packages"]["torch"] == torch.__version__
    assert run.config == dataclasses.replace(run.config.completed())


def test_the_epoch_s_training_means_are_means_over_examples(trained) -> None:
    for row in trained.run.evaluations:
        steps = [step for step in trained.run.steps if step["epoch"] == row["epoch"]]
        sizes = [128] * 11 + [30]
        for name in ("loss", "top1_error", "top5_error"):
            mean = sum(size * step[name] for size, step in zip(sizes, steps, strict=True)) / sum(sizes)
            assert row[f"train_{name}"] == pytest.approx(mean, rel=1e-9)


def test_the_configuration_can_be_run_again(trained) -> None:
    path = trained.run.folder / "config.toml"
    assert configuration.from_toml(path) == trained.run.config
    assert path.read_text() == configuration.to_toml(configuration.from_toml(path))


@pytest.mark.parametrize("cut", range(0, 400, 13))
def test_a_kill_at_any_byte_leaves_rows_that_can_be_read(trained, tmp_path: Path, cut: int) -> None:
    whole = (trained.run.folder / STEPS).read_bytes()
    torn = tmp_path / STEPS
    torn.write_bytes(whole[: len(whole) - cut])
    rows = read_rows(torn)
    assert rows == trained.run.steps[: len(rows)]
    assert len(rows) >= whole[: len(whole) - cut].count(b"\n")


def test_damage_in_the_middle_is_not_taken_for_a_kill(tmp_path: Path) -> None:
    (tmp_path / STEPS).write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match="line 2"):
        read_rows(tmp_path / STEPS)


@pytest.mark.parametrize("field", ["explains", "measurements", "layers", "rule", "severity"])
@pytest.mark.parametrize("wrong", [7, {"a": 1}, True])
def test_a_finding_with_a_field_of_another_type_is_refused(tmp_path: Path, field: str, wrong: object) -> None:
    record = runs_on_disk.begin(tmp_path / "run")
    runs_on_disk.diagnosed(record, 4, "dead", {**runs_on_disk.FINDING, field: wrong})
    with pytest.raises(ValueError, match=field) as refused:
        read_run(record.folder)
    assert "findings.json" in str(refused.value)


def test_not_a_number_is_null(tmp_path: Path) -> None:
    record = RunWriter.create(tmp_path / "run", config_of())
    record.append(STEPS, [{"step": 1, "loss": math.nan, "gradient_norm": math.inf}])
    assert json.loads((tmp_path / "run" / STEPS).read_text()) == {"step": 1, "loss": None, "gradient_norm": None}


def test_rows_of_an_older_version_are_read_by_the_names_of_today(tmp_path: Path) -> None:
    (tmp_path / STEPS).write_text(
        '{"step": 1, "loss": 2.3, "grad_norm": 0.5}\n{"step": 2, "loss": 2.2, "gradient_norm": 0.4}\n'
    )
    assert [row["gradient_norm"] for row in read_rows(tmp_path / STEPS)] == [0.5, 0.4]
    assert not any("grad_norm" in row for row in read_rows(tmp_path / STEPS))


def test_rewinding_drops_what_the_checkpoint_does_not_know(tmp_path: Path) -> None:
    record = RunWriter.create(tmp_path / "run", config_of())
    record.append(STEPS, [{"step": number} for number in range(1, 8)])
    record.append(EVALUATIONS, [{"epoch": 1}, {"epoch": 2}])
    record.append(FINDING_EVENTS, [{"step": 0}, {"step": 5}, {"step": 6}])
    with (tmp_path / "run" / STEPS).open("a") as file:
        file.write('{"step": 8, "lo')
    record.rewind(step=5, epoch=1)
    run = read_run(tmp_path / "run")
    assert [row["step"] for row in run.steps] == [1, 2, 3, 4, 5]
    assert [row["epoch"] for row in run.evaluations] == [1]
    assert [row["step"] for row in run.finding_events] == [0, 5]


def test_an_empty_directory_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no config\.toml"):
        read_run(tmp_path)


def test_used_and_unwritable_directories_are_refused(trained, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--resume"):
        RunWriter.create(trained.run.folder, trained.run.config)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "file"))):
        RunWriter.create(tmp_path / "file" / "run", trained.run.config)


def test_names_of_run_directories_count_up(tmp_path: Path) -> None:
    config = config_of()
    assert next_folder(config, tmp_path).name == "digits-A-001"
    (tmp_path / "digits-A-007").mkdir()
    (tmp_path / "digits-A-LRN-020").mkdir()
    assert next_folder(config, tmp_path).name == "digits-A-008"


def test_position_survives_its_file(trained, tmp_path: Path) -> None:
    position = Position(
        step=7,
        epoch=1,
        step_in_epoch=3,
        plateau=Plateau(best_error=0.25, best_step=4, epochs_since=2, num_drops=1),
        sums=EpochSums(loss_sum=1.5, top1_correct=3, top5_correct=4, num_examples=9, seconds=0.5),
    )
    parts, engine = trained.parts, Engine(device=torch.device("cpu"))
    checkpoint.save(tmp_path, position, parts.model, parts.optimizer, engine, {})
    loaded = checkpoint.load_latest(tmp_path, parts.model, parts.optimizer, engine, {})
    assert loaded is not None
    assert loaded.position == position
    assert loaded.skipped == []


def test_the_last_two_checkpoints_and_the_best_are_kept(trained, tmp_path: Path) -> None:
    parts, engine = trained.parts, Engine(device=torch.device("cpu"))
    for step in range(1, 7):
        position = Position(step=step, plateau=Plateau(best_error=0.5, best_step=2))
        checkpoint.save(tmp_path, position, parts.model, parts.optimizer, engine, {})
    assert [step for step, _ in checkpoint.checkpoints(tmp_path)] == [6, 5, 2]
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(trained, tmp_path: Path, damage: str) -> None:
    parts, engine = trained.parts, Engine(device=torch.device("cpu"))
    for step in (1, 2):
        checkpoint.save(tmp_path, Position(step=step), parts.model, parts.optimizer, engine, {})
    newest = tmp_path / "step-000000002.pt"
    whole = bytearray(newest.read_bytes())
    if damage == "flipped":
        whole[len(whole) // 2] ^= 0xFF
    newest.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "flipped": bytes(whole)}[damage])
    loaded = checkpoint.load_latest(tmp_path, parts.model, parts.optimizer, engine, {})
    assert loaded is not None
    assert loaded.position.step == 1
    assert len(loaded.skipped) == 1
    assert loaded.skipped[0].startswith("step-000000002.pt ")
    assert "\n" not in loaded.skipped[0]


def test_no_readable_checkpoint_at_all(trained, tmp_path: Path) -> None:
    (tmp_path / "step-000000003.pt").write_bytes(b"PK\x03\x04 torn")
    engine = Engine(device=torch.device("cpu"))
    with pytest.raises(ValueError, match=r"step-000000003\.pt"):
        checkpoint.load_latest(tmp_path, trained.parts.model, trained.parts.optimizer, engine, {})
    with pytest.raises(ValueError, match=r"nowhere.*no checkpoint"):
        checkpoint.load_weights(tmp_path / "nowhere", {})
