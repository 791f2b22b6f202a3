"""Scripts as people write them, each with its mistake and without: what `check` and `trainability run` say of them.

    python benchmarks/script_faults.py ask --set two --processes 2      # restartable; half a minute a script
    python benchmarks/script_faults.py score --set two                  # the table
    python benchmarks/script_faults.py score --set two --wrong          # and what was said of each that went wrong

`scripts/one` and `scripts/two` are of two authors who had read shared lists of what goes wrong, and neither the rules nor each
other's scripts: 26 with a mistake and eight odd but sound ones each. They are left as they were written. A script trains in its
own loop (`python NAME.py bad`), and `parts` hands the same to `check`; variant `fixed` is the twin without the mistake. Authors
ran both to their end: every `bad` misses the score that the script itself asks for (`WORKS`), every `fixed` reaches it.
`scripts/causes.json` says which codes name the mistake; a judge who had seen no answer chose them from the rules' pages. A
script of `one` was looked at when rules were mended, one of `two` was not before it was scored. They need scikit-learn.

A mistake is detected where something worse than a hint or a failing verdict is said of it; the right cause comes first where
the first finding has one of those codes: of `check`, of `run`, or for both of `check` where it says more than hints, else of
either.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fault_table import BAD
from verdict_table import wilson

HERE = Path(__file__).parent
SCRIPTS, ANSWERS = HERE / "scripts", HERE / "results" / "script-faults.jsonl"
SETS = ("one", "two")
REHEARSE_SECONDS = 30.0  # a hundred steps, also beside other programs
LONGEST = 600.0
Row = dict[str, Any]

CHECK = """
import importlib.util, json, sys, warnings
import torch
torch.set_num_threads(1)
warnings.filterwarnings("ignore")
spec = importlib.util.spec_from_file_location("program", sys.argv[1])
program = importlib.util.module_from_spec(spec)
sys.modules["program"] = program
spec.loader.exec_module(program)
parts = program.parts(sys.argv[2])
import trainability
names = ("loss_fn", "training_step", "step", "scheduler", "metric", "val_loader")
words = {name: parts[name] for name in names if parts.get(name)}
try:
    found = trainability.check(
        parts["model"], parts["train_loader"], optimizer=parts["optimizer"], rehearse_seconds=float(sys.argv[3]), **words
    )
except ValueError as error:
    answer = {"verdict": "refused", "reason": str(error), "findings": []}
else:
    answer = {"verdict": found.verdict, "reason": found.reason, "findings": [[f.code, f.severity] for f in found.findings]}
print("ANSWER " + json.dumps(answer))
"""


def scripts(which: str) -> Iterator[tuple[str, str]]:
    """Names as `one/name`, each with its variants; a sound one has no bad one."""
    for path in sorted((SCRIPTS / which).glob("*.py")):
        for variant in ("fixed",) if path.stem.startswith("healthy_") else ("bad", "fixed"):
            yield f"{which}/{path.stem}", variant


def asked(name: str, variant: str) -> Row:
    """What `check` and `run` say of a script, each in a process of its own."""
    path = SCRIPTS / f"{name}.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    checked = subprocess.run(
        [sys.executable, "-c", CHECK, str(path), variant, str(REHEARSE_SECONDS)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONGEST,
    )
    answers = [line for line in checked.stdout.splitlines() if line.startswith("ANSWER ")]
    check = json.loads(answers[-1].removeprefix("ANSWER ")) if answers else {"failed": checked.stderr[-300:]}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "trainability", "run", str(path), variant]
        ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST)
        kept = [json.loads(found.read_text()) for found in sorted(Path(folder).glob("runs/**/findings.json"))]
    score = re.findall(r"^score: *([-+.\deinfa]+)", ran.stdout, flags=re.MULTILINE)
    of_nets = [{"verdict": k["verdict"], "findings": [[f["code"], f["severity"]] for f in k["findings"]]} for k in kept]
    return {
        "name": name,
        "variant": variant,
        "check": check,
        "run": of_nets,
        "code": ran.returncode,
        "score": score[-1] if score else None,
    }


def rows() -> dict[tuple[str, str], Row]:
    """What is kept, by name and variant."""
    lines = ANSWERS.read_text().splitlines() if ANSWERS.exists() else []
    return {(row["name"], row["variant"]): row for row in map(json.loads, lines)}


def ask(which: str, processes: int) -> None:
    """Ask of what is not kept yet."""
    lacking = [item for item in scripts(which) if item not in rows()]
    with ThreadPoolExecutor(processes) as pool, ANSWERS.open("a") as file:
        for row in pool.map(lambda item: asked(*item), lacking):
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(row["name"], row["variant"], shown(row), flush=True)


def shown(row: Row) -> str:
    """Both answers in a line."""
    answers = [row["check"], *row["run"]]
    told = [", ".join(f"{code} ({level})" for code, level in answer.get("findings", ())) or "nothing" for answer in answers]
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


def score(which: str, *, wrong: bool) -> None:
    """Print the table."""
    causes = json.loads((SCRIPTS / "causes.json").read_text())
    kept = [row for key, row in rows().items() if key in set(scripts(which))]
    bad, sound = ([row for row in kept if row["variant"] == variant] for variant in ("bad", "fixed"))
    print(f"scripts/{which}: {len(bad)} with a mistake, {len(sound)} without")
    for way in ("check", "run", "both"):
        detected = [row for row in bad if any(map(is_alarmed, answers_of(row)[way]))]
        right = [row for row in bad if first_codes(row, way) & set(causes[row["name"]])]
        alarmed = [row for row in sound if any(map(is_alarmed, answers_of(row)[way]))]
        counted = (("detected", detected, bad), ("right cause first", right, bad), ("false alarms", alarmed, sound))
        for what, part, whole in counted:
            low, high = wilson(len(part), len(whole))
            share = f"{len(part) / len(whole):5.0%}  ({low:.0%} to {high:.0%})"
            print(f"{way:6} {what:18} {len(part):3} of {len(whole):3}  {share}")
    if not wrong:
        return
    for row in bad:
        if not first_codes(row, "both") & set(causes[row["name"]]):
            print(f"-- {row['name']}: {shown(row)}\n     should be {', '.join(causes[row['name']]) or 'nothing that there is'}")
    for row in sound:
        if any(map(is_alarmed, answers_of(row)["both"])):
            print(f"-- {row['name']}, without a mistake: {shown(row)}")


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["ask", "score"])
    parser.add_argument("--set", choices=SETS, default="two")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--wrong", action="store_true")
    options = parser.parse_args()
    if options.command == "ask":
        ask(options.set, options.processes)
    else:
        score(options.set, wrong=options.wrong)


if __name__ == "__main__":
    main()
