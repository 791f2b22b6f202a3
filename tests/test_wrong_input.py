"""Values and names that nobody meant: one line that shows them and does nothing else, or taken as they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sources_on_disk as on_disk
from conftest import config_of, flags_of

from trainability import config as configuration
from trainability.cli import program as cli
from trainability.config import OptimConfig, in_range, one_line, shown
from trainability.data import tables
from trainability.training.record import read_run

ODD = "\x1b[31mred\x07\n\r\u202eabc\ud800\x9b\u2028"


def test_what_is_shown_is_one_printable_line() -> None:
    for text in (ODD, "x" * 5000, ODD * 1000, "a b " * 2000):
        for said in (shown(text), one_line(text)):
            assert said.isprintable()
    assert shown("x" * 50 + "y" * 5000 + "z" * 50) == "x" * 50 + "y" * 8 + " … " + "y" * 8 + "z" * 50
    assert len(one_line("x" * 5000)) == 299
    assert len(one_line("a b " * 2000)) == 1999
    assert shown("Größe 1×1") == "Größe 1×1"
    assert one_line("/" + "folder/" * 40) == "/" + "folder/" * 40


@pytest.mark.parametrize("digits", [19, 400, 5000])
@pytest.mark.parametrize("sign", [1, -1])
def test_whole_numbers_of_any_length_are_refused_in_a_line(digits: int, sign: int) -> None:
    value = sign * 10**digits
    with pytest.raises(ValueError, match=r"optim\.epochs is ") as refusal:
        OptimConfig(epochs=value)
    assert len(str(refusal.value)) < 200
    with pytest.raises(ValueError, match=r"optim\.lr is "):
        OptimConfig(lr=value)
    in_range("run.seed", 2**63 - 1, at_least=0, below=2**63)


@pytest.mark.parametrize("key", ["epochs", "lr", "clip", "micro-batch-size"])
def test_whole_numbers_of_any_length_in_a_recipe(tmp_path: Path, key: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(f"[optim]\n{key} = {10**400}\n")
    with pytest.raises(ValueError, match=rf"optim\.{key}.* is a whole number of 401 digits"):
        configuration.from_toml(path)


@pytest.mark.parametrize(
    "flag", ["data.size", "data.crop", "data.num-images", "data.num-classes", "model.hidden", "data.workers"]
)
def test_sizes_that_no_machine_has_are_refused(flag: str, tmp_path: Path) -> None:
    for value in (2**40, 10**400):
        (tmp_path / "recipe.toml").write_text(f"[{flag.split('.')[0]}]\n{flag.split('.')[1]} = {value}\n")
        with pytest.raises(ValueError, match=f"{flag} is .* at most"):
            configuration.from_toml(tmp_path / "recipe.toml")


@pytest.mark.parametrize("path", ["/dev/full", "/dev/zero", "/", "fifo"])
def test_a_recipe_that_is_no_file(tmp_path: Path, path: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ValueError, match=r"is not a file|cannot be read"):
        configuration.from_toml(tmp_path / path if path == "fifo" else Path(path))


@pytest.mark.parametrize("text", [b"\xff", b"[" * 100_000, b"[optim]\nlr = " + b"[" * 100_000, b"[optim]\nlr = 1e", b"\0"])
def test_a_recipe_of_other_bytes(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "recipe.toml").write_bytes(text)
    with pytest.raises(ValueError, match="not a TOML file"):
        configuration.from_toml(tmp_path / "recipe.toml")


@pytest.mark.parametrize("label", [2**31, 2**62, -1])
def test_a_parquet_label_that_is_no_class(tmp_path: Path, label: int) -> None:
    table = pa.table({"image": [on_disk.jpeg(0, 0)] * 2, "label": pa.array([0, label], pa.int64())})
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(ValueError, match=rf"label runs from .*{label}"):
        tables.parquet(tmp_path)


def test_a_class_folder_of_any_name_trains_and_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [b"caf\xe9", b"[red]", b"\x1b[31mesc", "größe".encode()]
    on_disk.class_folders(tmp_path / "source", num_classes=4)
    for number, name in enumerate(names):
        (tmp_path / "source" / f"class-{number}").rename(os.fsdecode(os.fsencode(tmp_path / "source") + b"/" + name))
    monkeypatch.chdir(tmp_path)
    config = config_of(optim__epochs=1, optim__batch_size=16, data__name="folder", data__crop=32, data__size=36)
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", *flags_of(config), "--data.path", "source", "--data.cache", "cache", "--run.dir", "[bold]run[/x]"])
    said = capsys.readouterr()
    assert stop.value.code == 0, said
    assert "[bold]run[/x]: finished" in said.out
    assert read_run("[bold]run[/x]").data["class_names"] == ["\\x1b[31mesc", "[red]", "caf\\xe9", "größe"]
    for command in (["errors", "[bold]run[/x]"], ["evaluate", "[bold]run[/x]", "--protocol", "centre"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(command)
        said = capsys.readouterr()
        assert stop.value.code == 0, said
        assert "\x1b" not in said.out
    assert "[red]" in (tmp_path / "[bold]run[/x]" / "report.html").read_text()


SETUP = """
import torch
import trainability

def setup():
    import helper
    model = torch.nn.Linear(4, 3)
    batches = [(torch.randn(8, 4), torch.arange(8) % 3) for _ in range(4)]
    return trainability.Setup(model=model, {loader}=batches)
"""


def test_check_runs_no_file_that_only_happens_to_lie_there(tmp_path: Path) -> None:
    import dataclasses

    from trainability import Setup

    loader = next(field.name for field in dataclasses.fields(Setup) if field.name.startswith("train"))
    (tmp_path / "mine.py").write_text(SETUP.replace("{loader}", loader))
    (tmp_path / "helper.py").write_text("")
    for name in ("rich", "plotly", "jinja2", "datasets", "simplejpeg"):
        (tmp_path / f"{name}.py").write_text("open('executed', 'a').write(__name__)\nraise SystemExit(7)\n")
    script = "from trainability.cli.program import main; main(['check', 'mine:setup'])"
    answer = subprocess.run([sys.executable, "-P", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode in (0, 1), answer.stderr
    assert not (tmp_path / "executed").exists()
