"""Values and names that nobody meant: one line that shows them and does nothing else, or taken as they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
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
    with pytest.raises(ValueError, match=rf"optim\.{key}.* 401 digits"):
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
    with pytest.raises(ValueError, match=re.escape(path)):
        configuration.from_toml(tmp_path / path if path == "fifo" else Path(path))


@pytest.mark.parametrize("text", [b"\xff", b"[" * 100_000, b"[optim]\nlr = " + b"[" * 100_000, b"[optim]\nlr = 1e", b"\0"])
def test_a_recipe_of_other_bytes(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "recipe.toml").write_bytes(text)
    with pytest.raises(ValueError, match=r"recipe\.toml"):
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


def called(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(list(arguments))
    return int(stop.value.code or 0)


@pytest.mark.parametrize(
    "flags",
    [
        ["--data.name", "synthetic", "--data.num-images", "1000000000"],
        ["--data.name", "synthetic", "--data.num-images", "10000000", "--data.size", "8192", "--data.crop", "32"],
        ["--data.size", "8192"],
        ["--model.width", "16", "--model.hidden", "1048576"],
        ["--model.num-outputs", "1048576", "--model.hidden", "1048576"],
    ],
)
def test_what_no_memory_holds_is_refused_in_a_line_with_both_numbers(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("trainability.data.memory._of_system", lambda: 2**33)
    monkeypatch.chdir(tmp_path)
    assert called("train", *flags, "--run.device", "cpu") == 2
    said = capsys.readouterr().err
    assert re.search(r"\d GiB.* 8\.0 GiB", said)
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(36, "File name too long", "x" * 300), 2, "File name too long"),
        (PermissionError(13, "Permission denied", "/root/\x1b[31m"), 2, "\\x1b[31m: Permission denied"),
        (OSError(28, "No space left on device", "a.pt"), 1, "a.pt: No space left on device"),
        (MemoryError(), 1, "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."), 1, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_the_machine_refuses_is_one_line(
    error: BaseException, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(arguments: list[str]) -> None:
        raise error

    monkeypatch.setattr(cli, "_parse", fails)
    assert called("train") == code
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(arguments: list[str]) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(cli, "_parse", fails)
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["train"])


def test_a_reader_that_leaves_ends_a_command_without_a_word() -> None:
    command = [sys.executable, "-m", "trainability", "train", "--help"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 141
    assert said == b""


def test_a_disk_that_is_full_at_the_report_does_not_undo_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from trainability.disk import whole

    written = whole.write

    def full(path: Path, data: bytes) -> None:
        if path.name == "report.html":
            raise OSError(28, "No space left on device", str(path))
        written(path, data)

    monkeypatch.setattr(whole, "write", full)
    monkeypatch.chdir(tmp_path)
    assert called("train", *flags_of(config_of(optim__epochs=1)), "--run.dir", "r") == 1
    said = capsys.readouterr().err
    assert "trainability train --resume r" in said
    assert not list((tmp_path / "r").glob("*.partial"))
    monkeypatch.setattr(whole, "write", written)
    assert called("train", "--resume", "r") == 0
    assert (tmp_path / "r" / "report.html").is_file()


def test_ctrl_c_before_the_first_step_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*rest: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trainability.training.parts.assemble", interrupted)
    monkeypatch.chdir(tmp_path)
    assert called("train", *flags_of(config_of())) == 130
    said = capsys.readouterr().err
    assert said.startswith("trainability: interrupted")
    assert said.count("\n") == 1
    assert not list(tmp_path.glob("*/checkpoints/*"))


def test_pipes_devices_and_loops_among_images(tmp_path: Path) -> None:
    from trainability.data import cache
    from trainability.data.layouts import catalog_of

    source = on_disk.class_folders(tmp_path / "source", num_classes=2, per_class=3)
    (source / "class-0" / "loop").symlink_to("..")
    (source / "class-1" / "self").symlink_to(".")
    config = configuration.DataConfig(name="folder", path=source, cache=tmp_path / "cache", size=40, crop=32)
    assert len(catalog_of(config).labels) == 6
    os.mkfifo(source / "class-0" / "pipe.jpg")
    (source / "class-1" / "zeros.png").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match=r"2 .* 8 .*pipe\.jpg: "):
        cache.pack(config, num_workers=1)


def test_a_jpeg_that_claims_more_than_it_holds_is_not_decoded() -> None:
    import simplejpeg

    from trainability.data.images import BrokenImage, decode

    data = on_disk.jpeg(1, 1)
    frame = data.index(b"\xff\xc0") + 5
    huge = data[:frame] + (11_000).to_bytes(2, "big") + (12_000).to_bytes(2, "big") + data[frame + 4 :]
    assert simplejpeg.decode_jpeg_header(huge)[:2] == (11_000, 12_000)
    for claims in (huge, huge[:2] + b"\xff\xe1\0\x0aExif\0\0xx" + huge[2:]):
        with pytest.raises(BrokenImage, match=r"cannot hold 132,000,000 pixels"):
            decode(claims)
    # The emptiest picture that there is, of a kind that nobody has: still more than a bit a block.
    assert decode(simplejpeg.encode_jpeg(np.zeros((2048, 2048, 3), np.uint8), quality=1)).shape == (2048, 2048, 3)


def test_labels_and_headers_that_are_none_are_named(tmp_path: Path) -> None:
    folder = on_disk.mnist_idx(tmp_path / "idx", zipped=False)
    labels = folder / "t10k-labels-idx1-ubyte"
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-1] + b"\xfb")
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte: .*\b251"):
        tables.idx(folder)
    labels.write_bytes(whole[:4] + b"\xff" * 4 + whole[8:])
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte: .*\(4294967295,\)"):
        tables.idx(folder)
    cifar = on_disk.cifar(tmp_path / "cifar", num_classes=10, binary=True) / "cifar-10-batches-bin"
    data = (cifar / "data_batch_2.bin").read_bytes()
    (cifar / "data_batch_2.bin").write_bytes(b"\xfb" + data[1:])
    with pytest.raises(ValueError, match=r"data_batch_2.bin: .* 9"):
        tables.cifar(cifar, num_classes=10)


def test_two_runs_that_begin_at_once_take_two_numbers(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from trainability.training.record import next_folder

    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: next_folder(config_of(), tmp_path), range(40)))
    assert sorted(folder.name for folder in folders) == [f"digits-A-{number:03d}" for number in range(1, 41)]
