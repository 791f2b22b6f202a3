"""Run the campaigns to their goals: `PYTHONPATH=tests python -m campaigns --kills 1500 --inputs 100000`."""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from campaigns import forks, inputs, kills
from trainability.disk import whole

TESTS = Path(__file__).resolve().parent.parent
RESULTS = TESTS.parent / "benchmarks" / "results" / "campaigns.json"
CHUNK = 200
SHARES = {
    "train": 0.45,
    "two processes": 0.1,
    "sharded": 0.1,
    "one of two sharded": 0.05,
    "pack": 0.15,
    "evaluate": 0.1,
    "report": 0.05,
}
"""Of the kills."""
OTHERWISE = {"two processes": ("train", "stop"), "one of two sharded": ("sharded", "kill one")}
"""Works that are another one, and how it is ended."""


def main() -> None:
    """Go on where the results stand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1500)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=600, help="after which it stops; start it again to go on")
    parser.add_argument("--anew", action="store_true", help="forget the results that are there")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {} if asked.anew or not RESULTS.exists() else json.loads(RESULTS.read_text())
    end = time.monotonic() + 60 * asked.minutes
    root = Path(tempfile.mkdtemp(prefix="campaigns-"))
    try:
        if "malicious files" not in results:
            _malicious(results)
        _inputs(results, root / "inputs", asked.inputs, lambda: time.monotonic() > end - 60 * asked.minutes / 2)
        _kills(results, root / "kills", asked.kills, lambda: time.monotonic() > end)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    _say(results)
    sys.exit(bool(wrong_in(results)))


def wrong_in(results: dict[str, Any]) -> list[str]:
    """List what went wrong."""
    return [line for part in results.values() for case in part.values() for line in case["wrong"]]


def _malicious(results: dict[str, Any]) -> None:
    """Run the malicious files, which are tests of their own."""
    command = [sys.executable, "-m", "pytest", "-q", str(TESTS / "test_foreign_files.py"), "-k", "foreign_file_is_run"]
    answer = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True)
    passed, failed = (
        (int(found[1]) if (found := re.search(rf"(\d+) {word}", answer.stdout)) else 0) for word in ("passed", "failed")
    )
    wrong = [line for line in answer.stdout.splitlines() if line.startswith("FAILED")]
    results["malicious files"] = {"all": {"tried": passed + failed, "executed": failed, "wrong": wrong}}
    _write(results)


def _inputs(results: dict[str, Any], root: Path, goal: int, is_late: Callable[[], bool]) -> None:
    """Try every kind equally often, in turns, each from the case where it stands."""
    kinds = inputs.kinds(root)
    part = results.setdefault("bad inputs", {})
    each = -(-goal // len(kinds))
    empty = {"tried": 0, "refused": 0, "taken": 0, "seconds": 0.0, "wrong": []}
    while not is_late() and any(part.get(name, empty)["tried"] < each for name in kinds):
        for name, kind in kinds.items():
            if is_late():
                break
            counted = part.setdefault(name, {**empty, "wrong": []})
            try_inputs(counted, kind, min(counted["tried"] + CHUNK, each), is_late)
            _write(results)


def try_inputs(counted: dict[str, Any], kind: inputs.Kind, until: int, is_late: Callable[[], bool] = lambda: False) -> None:
    """Try a kind from the case where its counts stand."""
    before = _cpu_seconds()
    for number, answer in forks.stream(lambda number: inputs.answer_of(kind, number), iter(range(counted["tried"], until))):
        counted["tried"] += 1
        if answer in ("refused", "taken"):
            counted[answer] += 1
        else:
            counted["wrong"].append(f"{number}: {_last_lines(answer)}")
        if is_late():
            break
    counted["seconds"] = round(counted["seconds"] + _cpu_seconds() - before, 1)


def _kills(results: dict[str, Any], root: Path, goal: int, is_late: Callable[[], bool]) -> None:
    """Kill each work its share of the times, each from the case where it stands."""
    root.mkdir(parents=True)
    works = kills.campaigns(root)
    part = results.setdefault("kills", {})
    totals: dict[str, int] = {}
    empty = {"kills": 0, "runs": 0, "changes": 0, "refused": 0, "seconds": 0.0, "at": {}, "wrong": []}
    while not is_late() and any(part.get(name, empty)["kills"] < share * goal for name, share in SHARES.items()):
        for name, share in SHARES.items():
            counted = part.setdefault(name, {**empty, "at": {}, "wrong": []})
            if is_late() or counted["kills"] >= share * goal:
                continue
            of, action = OTHERWISE.get(name, (name, "kill"))
            work = works[of]
            if name not in totals:
                totals[name] = counted["changes"] = kills.num_changes(work, root, name)
            kill_once(counted, work, root, name, totals[name], action=action)
            _write(results)


def kill_once(
    counted: dict[str, Any], work: kills.Campaign, root: Path, name: str, total: int, *, action: str = "kill"
) -> None:
    """Run the next case of a work."""
    before = _cpu_seconds()
    case = kills.one(work, root, name, counted["runs"], total, action=action)
    places = Counter(counted["at"])
    places.update(_kind_of(place) for place in case["places"])
    counted["at"] = dict(sorted(places.items()))
    counted["kills"] += case["kills"]
    counted["refused"] += case["refused"]
    if case["wrong"]:
        counted["wrong"].append(f"{counted['runs']}: {case['places']}: {_last_lines(case['wrong'])}")
    counted["runs"] += 1
    counted["seconds"] = round(counted["seconds"] + _cpu_seconds() - before, 1)


def _kind_of(place: str) -> str:
    """Name the call and the file of a kill, without numbers and the names of temporary files."""
    call, _, path = place.partition(" ")
    name = Path(path).name
    for ending in (".json", ".jsonl", ".toml", ".npz", ".html", ".pt", ".bin", ".npy", ".txt", ".lock", ".distcp", ".metadata"):
        if f"{ending}." in f"{name}.":
            name = re.sub(r"\d+", "N", name.split(ending)[0]) + ending
            break
    else:
        name = "a folder"
    return f"{call} {name}"


def _last_lines(text: Any) -> str:
    return " | ".join(str(text).strip().splitlines()[-3:])[:400]


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _write(results: dict[str, Any]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    whole.write(RESULTS, (json.dumps(results, indent=1) + "\n").encode())


def _say(results: dict[str, Any]) -> None:
    for part, cases in results.items():
        for name, counted in cases.items():
            numbers = ", ".join(f"{value} {key}" for key, value in counted.items() if isinstance(value, (int, float)))
            print(f"{part}, {name}: {numbers}, {len(counted['wrong'])} wrong")
            for line in counted["wrong"][:5]:
                print(f"    {line}")


if __name__ == "__main__":
    main()
