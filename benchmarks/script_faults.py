"""Scripts as people write them, each with its mistake and without: what `check` and `trainability run` say of them.

    python benchmarks/script_faults.py ask --set twentyseven --processes 2  # restartable; half a minute a script
    python benchmarks/script_faults.py score --set twentyseven               # the table
    python benchmarks/script_faults.py score --set twentyseven --wrong        # and what was said of each that went wrong
    python benchmarks/script_faults.py score --set two --answers benchmarks/results/script-faults-again.jsonl

`scripts/README.md` says who wrote each set, what for, and with which code it was scored; `scripts/causes.json`, which codes
name each mistake. They need scikit-learn.

A mistake is detected where something worse than a hint or a failing verdict is said of it; the right cause comes first where
the first finding has one of those codes: of `check`, of `run`, or for both of `check` where it says more than hints, else of
either.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fault_table import BAD
from verdict_table import wilson

HERE = Path(__file__).parent
SCRIPTS, ANSWERS = HERE / "scripts", HERE / "results" / "script-faults.jsonl"
EXPERIMENTS = HERE / "results" / "script-confirm.jsonl"
SETS = (
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "kinds",
    "eight",
    "kin",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
    "twentyone",
    "twentytwo",
    "twentythree",
    "twentyfour",
    "twentyfive",
    "twentysix",
    "twentyseven",
)
REHEARSE_SECONDS = 30.0  # a hundred steps, also beside other programs
CONFIRM_SECONDS = 20.0
LONGEST = 600.0
Row = dict[str, Any]

LOADED = """
import importlib.util, inspect, json, sys, warnings
import torch
torch.set_num_threads(1)
warnings.filterwarnings("ignore")
spec = importlib.util.spec_from_file_location("program", sys.argv[1])
program = importlib.util.module_from_spec(spec)
sys.modules["program"] = program
spec.loader.exec_module(program)
import trainability
NAMES = ("loss_fn", "training_step", "step", "scheduler", "metric", "val_loader", "model", "train_loader", "optimizer")
def setup():
    parts = program.parts(sys.argv[2])
    words = {name: parts[name] for name in NAMES if parts.get(name) is not None}
    step = words.get("step")
    names = list(inspect.signature(step).parameters) if step is not None else []
    if names[1:] and (names[1].startswith("batch") or names[2].startswith("opt")):  # from three on, in this order
        words["step"] = lambda model, optimizer, batch: step(model, batch, optimizer)
    return trainability.Setup(rehearse_seconds=float(sys.argv[3]), **words)
"""
CHECK = (
    LOADED
    + """
try:
    found = trainability.check(setup())
except ValueError as error:
    answer = {"verdict": "refused", "reason": str(error), "findings": []}
else:
    answer = {"verdict": found.verdict, "reason": found.reason, "findings": [[f.code, f.severity] for f in found.findings]}
    answer["remedy"] = found.findings[0].remedy if found.findings else None
print("ANSWER " + json.dumps(answer))
"""
)
CONFIRM = (
    LOADED
    + """
import time
began = time.process_time()
try:
    found = trainability.confirm(setup, seconds=SECONDS, max_steps=120)
except ValueError as error:
    answer = {"verdict": "refused", "reason": str(error), "findings": [], "arms": []}
else:
    arms = found.evidence.experiments.arms
    answer = {
        "verdict": found.verdict,
        "reason": found.reason,
        "findings": [[f.code, f.severity, f.tested.outcome if f.tested else None] for f in found.findings],
        "arms": [[arm.change, arm.outcome, arm.loss] for arm in arms],
    }
answer["processor_seconds"] = round(time.process_time() - began, 1)
print("ANSWER " + json.dumps(answer))
""".replace("SECONDS", str(CONFIRM_SECONDS))
)


def scripts(which: str) -> Iterator[tuple[str, str]]:
    """Names as `one/name`, each with its variants; a sound one has no bad one."""
    for path in sorted((SCRIPTS / which).glob("*.py")):
        for variant in ("fixed",) if path.stem.startswith("healthy_") else ("bad", "fixed"):
            yield f"{which}/{path.stem}", variant


def answer_of(code: str, name: str, variant: str) -> Row:
    """Run code on a script's parts in a process of its own, and read what it answers."""
    done = subprocess.run(
        [sys.executable, "-c", code, str(SCRIPTS / f"{name}.py"), variant, str(REHEARSE_SECONDS)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=LONGEST,
    )
    answers = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
    return json.loads(answers[-1].removeprefix("ANSWER ")) if answers else {"failed": done.stderr[-300:]}


def asked(name: str, variant: str) -> Row:
    """What `check` and `run` say of a script, each in a process of its own."""
    path, check = SCRIPTS / f"{name}.py", answer_of(CHECK, name, variant)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "trainability", "run", str(path), variant]
        ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST)
        kept = [json.loads(found.read_text()) for found in sorted(Path(folder).glob("runs/**/findings.json"))]
    score = re.findall(r"^score: *([-+.\deinfa]+)", ran.stdout, flags=re.MULTILINE)
    of_nets = [
        {
            "verdict": k["verdict"],
            "findings": [[f["code"], f["severity"]] for f in k["findings"]],
            "remedy": k["findings"][0]["remedy"] if k["findings"] else None,
        }
        for k in kept
    ]
    return {
        "name": name,
        "variant": variant,
        "check": check,
        "run": of_nets,
        "code": ran.returncode,
        "score": score[-1] if score else None,
    }


def confirmed(name: str, variant: str) -> Row:
    """What `confirm` says of a script's parts, in a process of its own."""
    return {"name": name, "variant": variant, "confirm": answer_of(CONFIRM, name, variant)}


def rows(path: Path) -> dict[tuple[str, str], Row]:
    """What is kept, by name and variant."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {(row["name"], row["variant"]): row for row in map(json.loads, lines)}


def ask(which: str, processes: int, question: Callable[[str, str], Row], path: Path) -> None:
    """Ask of what is not kept yet."""
    kept = rows(path)
    with ThreadPoolExecutor(processes) as pool, path.open("a") as file:
        for row in pool.map(lambda item: question(*item), [item for item in scripts(which) if item not in kept]):
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(row["name"], row["variant"], shown(row), flush=True)


def shown(row: Row) -> str:
    """The answers in a line."""
    answers = [row["confirm"]] if "confirm" in row else [row["check"], *row["run"]]
    told = [
        ", ".join(f"{code} ({'; '.join(filter(None, of))})" for code, *of in answer.get("findings", ())) for answer in answers
    ]
    told = [text or "nothing" for text in told]
    return "; ".join(f"{answer.get('verdict', 'failed')}: {text}" for answer, text in zip(answers, told, strict=True))


def is_alarmed(answer: Row) -> bool:
    """Whether anything is worse than a hint, or the verdict is bad."""
    verdict = answer.get("verdict")
    return verdict in (*BAD, "refused") or any(severity != "hint" for _, severity in answer.get("findings", ()))


def answers_of(row: Row) -> dict[str, list[Row]]:
    """The answers of each way: of `check`, of `run`, and of who asks both, `check` first."""
    check, run = [row["check"]], row["run"]
    return {"check": check, "run": run, "both": [*check, *run]}


def first_codes(row: Row, way: str) -> set[str]:
    """The code of the first finding; of several networks, of each."""
    answers = answers_of(row)[way]
    if way == "both":
        says_more = any(severity != "hint" for _, severity in row["check"].get("findings", ()))
        answers = [row["check"]] if says_more else [row["check"], *row["run"]]
    return {answer["findings"][0][0] for answer in answers if answer.get("findings")}


def score(which: str, answers: Path, *, wrong: bool) -> None:
    """Print the table."""
    causes = json.loads((SCRIPTS / "causes.json").read_text())
    bad, sound = kept_of(which, answers)
    print(f"scripts/{which}: {len(bad)} with a mistake, {len(sound)} without")
    for way in ("check", "run", "both"):
        detected = [row for row in bad if any(map(is_alarmed, answers_of(row)[way]))]
        right = [row for row in bad if first_codes(row, way) & set(causes[row["name"]])]
        alarmed = [row for row in sound if any(map(is_alarmed, answers_of(row)[way]))]
        counted = (("detected", detected, bad), ("right cause first", right, bad), ("false alarms", alarmed, sound))
        for what, part, whole in counted:
            tell(way, what, len(part), len(whole))
    if not wrong:
        return
    for row in bad:
        if not first_codes(row, "both") & set(causes[row["name"]]):
            print(f"-- {row['name']}: {shown(row)}\n     should be {', '.join(causes[row['name']]) or 'nothing that there is'}")
    for row in sound:
        if any(map(is_alarmed, answers_of(row)["both"])):
            print(f"-- {row['name']}, without a mistake: {shown(row)}")


def kept_of(which: str, path: Path) -> tuple[list[Row], list[Row]]:
    """What is kept of a set: scripts with their mistake, and sound ones."""
    kept = [row for key, row in rows(path).items() if key in set(scripts(which))]
    return [row for row in kept if row["variant"] == "bad"], [row for row in kept if row["variant"] == "fixed"]


def tell(way: str, what: str, part: int, whole: int) -> None:
    """Print a share with its 95 % interval."""
    low, high = wilson(part, whole)
    print(f"{way:8} {what:27} {part:3} of {whole:3}  " + (f"{part / whole:5.0%}  ({low:.0%} to {high:.0%})" if whole else ""))


def score_confirmed(which: str, *, wrong: bool) -> None:
    """Print the table of experiments."""
    causes = json.loads((SCRIPTS / "causes.json").read_text())
    bad, sound = kept_of(which, EXPERIMENTS)
    said = {row["name"]: [f for f in row["confirm"].get("findings", ()) if f[2] == "confirmed"] for row in bad}
    right = [row for row in bad if row["confirm"].get("findings") and row["confirm"]["findings"][0][0] in causes[row["name"]]]
    true = [name for name, found in said.items() if found and found[0][0] in causes[name]]
    alarmed = [row for row in sound if any(f[2] == "confirmed" for f in row["confirm"].get("findings", ()))]
    tell("confirm", "right cause first", len(right), len(bad))
    tell("confirm", "first confirmed is the cause", len(true), sum(map(bool, said.values())))
    tell("confirm", "confirmed on sound", len(alarmed), len(sound))
    seconds = [row["confirm"].get("processor_seconds", LONGEST) for row in (*bad, *sound)]
    print(f"confirm: median {statistics.median(seconds):.0f} s of processor time, the check with it")
    for row in (*(row for row in bad if row not in right), *alarmed) if wrong else ():
        print(f"-- {row['name']} {row['variant']}: {shown(row)}")


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["ask", "confirm", "score"])
    parser.add_argument("--set", choices=SETS, default="nine")
    parser.add_argument("--answers", type=Path, default=ANSWERS, help="where they are kept")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--wrong", action="store_true")
    options = parser.parse_args()
    if options.command == "ask":
        ask(options.set, options.processes, asked, options.answers)
    elif options.command == "confirm":
        ask(options.set, options.processes, confirmed, EXPERIMENTS)
    else:
        score(options.set, options.answers, wrong=options.wrong)
        if options.answers == ANSWERS and any(kept_of(options.set, EXPERIMENTS)):
            score_confirmed(options.set, wrong=options.wrong)


if __name__ == "__main__":
    main()
