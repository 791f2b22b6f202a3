"""Kills at every change to the disk, in every phase; each interrupted work is taken up again and compared with a whole one."""

from __future__ import annotations

import hashlib
import math
import os
import random
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sources_on_disk as on_disk
import torch
from conftest import config_of, flags_of

from campaigns import forks
from campaigns.injection import Injector
from trainability.cli import program as cli
from trainability.data import packing
from trainability.evaluation import archive
from trainability.training import checkpoint, shards
from trainability.training.record import EVALUATIONS, STEPS, read_rows, read_run

CLOCK = ("images_per_second", "train_seconds")
MOST_KILLS = 5
"""Of one work, before it is left to end."""
TINY = {
    "data__name": "synthetic",
    "data__num_images": 60,
    "data__num_classes": 3,
    "data__size": 32,
    "data__crop": 32,
    "model__width": 0.02,
    "model__hidden": 8,
    "optim__batch_size": 16,
    "optim__micro_batch_size": 12,
    "optim__epochs": 2,
    "run__log_every_steps": 2,
    "run__checkpoint_every_steps": 3,
    "run__monitor_every_steps": 2,
}


class Campaign:
    """A work that is killed and taken up again.

    Attributes:
        start: begins the work in the folder, or takes it up, as a user would; returns the exit code.
        compare: what differs between a folder and the whole one, in a line; `None` if nothing does.
        prepare: makes what the work needs, once.
        fresh: puts a folder into the state before the work.
    """

    def __init__(
        self,
        *,
        start: Callable[[Path], int],
        compare: Callable[[Path, Path], str | None],
        fresh: Callable[[Path], None],
    ) -> None:
        self.start, self.compare, self.fresh = start, compare, fresh


def command(*arguments: str) -> int:
    """Run a command in this process."""
    try:
        cli.main(list(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)
    raise AssertionError


def train(folder: Path) -> int:
    """Begin a run, or go on with it; 0 as well where there is nothing left to do."""
    os.chdir(folder)
    return _finished(command(*_next_command()))


def _next_command(**fields: Any) -> list[str]:
    """What a user types next: a run that was never begun is begun."""
    if not Path("run/config.toml").exists():
        return ["train", *flags_of(config_of(**TINY, **fields)), "--run.dir", "run"]
    return ["train", "--resume", "run"]


def _finished(code: int) -> int:
    done = all(Path("run", name).exists() for name in ("result.json", "predictions.npz", "report.html"))
    return 0 if code == 2 and done else code


def sharded(folder: Path) -> Any:
    """Train as two processes that share the network, as torchrun starts them; both get the same command.

    Returns:
        The exit code of the run; "killed" if one of the processes was killed alone and the other ended by itself, as it should.
    """
    os.chdir(folder)
    arguments = _next_command(run__parallel="sharded")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    codes = [_code_of_fork(pid) for pid in [_fork(rank, arguments) for rank in range(2)]]
    if -signal.SIGKILL in codes:
        return "killed" if all(code in (-signal.SIGKILL, 0, 1) for code in codes) else f"beside a killed one: {codes}"
    return _finished(max(codes))


def _fork(rank: int, arguments: list[str]) -> int:
    pid = os.fork()
    if pid == 0:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        try:
            os._exit(command(*arguments))
        finally:
            os._exit(99)  # a traceback
    return pid


def _code_of_fork(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _resumed(folder: Path) -> int:
    os.chdir(folder)
    return command("train", "--resume", "run")


def pack(folder: Path) -> int:
    """Pack a small set in shards of four images, in two processes."""
    os.chdir(folder)
    packing.SHARD_IMAGES = 4
    return command("pack", "--data.name", "folder", "--data.path", "source", "--data.cache", "cache", "--processes", "2")


def evaluate(folder: Path) -> int:
    """Ask the network again, by another protocol."""
    os.chdir(folder)
    return command("evaluate", "run", "--protocol", "centre")


def report(folder: Path) -> int:
    """Write the report again."""
    os.chdir(folder)
    return command("report", "run")


def runs_differ(one: Path, other: Path) -> str | None:
    """Compare weights, momentum, position, and every recorded number but the clock."""
    runs = [read_run(folder / "run") for folder in (one, other)]
    for name in (STEPS, EVALUATIONS):
        first, second = (_without_clock(read_rows(run.folder / name)) for run in runs)
        if first != second:
            return f"{name} differs"
    first, second = (_without_clock([run.result or {}]) for run in runs)
    if first != second:
        return f"result.json differs: {first} {second}"
    states = []
    for run in runs:
        found = checkpoint.checkpoints(run.folder / "checkpoints")
        states.append({path.name: _state(path) for _, path in found})
    if states[0].keys() != states[1].keys():
        return f"checkpoints {sorted(states[0])} and {sorted(states[1])}"
    for name, state in states[0].items():
        if not _equal(state, states[1][name]):
            return f"{name} differs"
    return _predictions_differ(one, other) or _left_over(one / "run")


def _state(path: Path) -> Any:
    """Read all that a checkpoint holds; of a sharded one, its files."""
    if path.is_file():
        return torch.load(path, weights_only=True)
    files = {name.name: name.read_bytes() for name in path.glob("*.distcp")}
    return {"files": files, "position": {**shards.read(path)["facts"]["position"], "sums": None}}


def _predictions_differ(one: Path, other: Path) -> str | None:
    first, second = (archive.read(folder / "run" / "predictions.npz") for folder in (one, other))
    is_same = first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)
    if not (one / "run" / "report.html").stat().st_size:
        return "no report"
    return None if is_same else "predictions.npz differs"


def _left_over(folder: Path) -> str | None:
    left = [path.name for path in folder.rglob("*.partial")]
    return f"left over: {left}" if left else None


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one if key != "seconds")
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_equal, one, other))
    return one == other


def _without_clock(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in CLOCK} for row in rows]


def packs_differ(one: Path, other: Path) -> str | None:
    """Compare every file of two packs, but for where they were made."""
    digests = []
    for folder in (one, other):
        (made,) = [path for path in (folder / "cache").iterdir() if path.is_dir()]
        names = [path for path in made.iterdir() if path.name not in (".lock", "source.json")]
        digests.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in names})
    different = sorted(set(digests[0].items()) ^ set(digests[1].items()))
    return f"{different[0][0]} differs" if different else None


def with_run(whole: Path) -> Callable[[Path], None]:
    """Begin with a copy of a finished run."""
    return lambda folder: shutil.copytree(whole / "run", folder / "run", dirs_exist_ok=True) and None


def campaigns(root: Path) -> dict[str, Campaign]:
    """Make the campaigns, with the finished run and the small set that they need, in a folder that stays."""
    source = root / "source"
    if not source.exists():
        on_disk.class_folders(source, num_classes=2, per_class=8)
    made = root / "made"
    if not (made / "run" / "report.html").exists():
        made.mkdir(parents=True, exist_ok=True)
        assert forks.run(lambda: train(made), seconds=600) == 0

    def link(folder: Path) -> None:
        shutil.copytree(source, folder / "source", copy_function=os.link)

    return {
        "train": Campaign(start=train, compare=runs_differ, fresh=lambda folder: None),
        "pack": Campaign(start=pack, compare=packs_differ, fresh=link),
        "sharded": Campaign(start=sharded, compare=runs_differ, fresh=lambda folder: None),
        "evaluate": Campaign(start=evaluate, compare=runs_differ, fresh=with_run(made)),
        "report": Campaign(start=report, compare=runs_differ, fresh=with_run(made)),
    }


def num_changes(campaign: Campaign, root: Path, name: str) -> int:
    """Do a work whole in `root/whole-NAME`, and count its changes to the disk."""
    whole = root / f"whole-{name}"
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir(parents=True)
    campaign.fresh(whole)
    counter = Injector(whole, at=None)

    def work() -> int:
        counter.install()
        return campaign.start(whole)

    code = forks.run(work, seconds=600)
    assert code == 0, code
    return counter.count


def one(campaign: Campaign, root: Path, name: str, number: int, total: int, *, action: str = "kill") -> dict[str, Any]:
    """Kill a work at a change, take it up, kill it again at moments drawn from the number, until it is done; compare.

    Args:
        campaign: the work.
        root: of `num_changes`.
        name: of the campaign.
        number: of the case: as many cases in a row as there are changes kill at each of them first, once.
        total: changes of the whole work.
        action: of the injector. With "stop", a second process tries to take the work up before every kill, and must be refused
            (exit code 2).

    Returns:
        Kills, where they fell, and what is wrong, if anything.
    """
    folder = root / f"case-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    campaign.fresh(folder)
    draw = random.Random(number)
    stride = next(step for step in range(int(0.618 * total) + 1, 2 * total + 2) if math.gcd(step, total) == 1)
    at: int | None = number * stride % total + 1
    places: list[str] = []
    refusals: list[Any] = []
    for _ in range(MOST_KILLS + 1):
        injector = Injector(folder, at=at, action=action)

        def work(injector: Injector = injector) -> int:
            injector.install()
            return campaign.start(folder)

        def intrude(pid: int) -> None:
            if (folder / "run" / "config.toml").exists():
                refusals.append(forks.run(lambda: _resumed(folder)))

        answer = forks.run(work, seconds=300, on_stop=intrude if action == "stop" else None)
        if answer != "killed":
            break
        places.append(injector.place)
        at = draw.randint(1, total // 2 + 1) if len(places) < MOST_KILLS else None
    wrong = f"answered {answer}" if answer != 0 else campaign.compare(folder, root / f"whole-{name}")
    if any(refusal != 2 for refusal in refusals):
        wrong = f"a second process was not refused: {refusals}"
    return {"kills": len(places), "places": places, "refused": len(refusals), "wrong": wrong}
