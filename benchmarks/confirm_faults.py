"""`benchmarks/confirm.py --faults`: what experiments make of the programs of `programs/`, each with one mistake or sound.

Per program: what `check` says first and what `confirm` says first, whether each names the true cause, which change was
confirmed, and whether a fresh copy with that change, trained to its end from a third seed, is as good as the sound twin. A
finding `confirmed_change` names the true cause where its change acts on what the mistake changed, and answers to a rule that
names it.
"""

import contextlib
import hashlib
import itertools
import re
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from fault_remedies import names_cause
from fault_runs import RUNS, Built, append, half_of, happened, outcome_of_twin, rows, run, setup_of, train
from programs.catalogue import FAULTS, FORUM, KIND, PROGRAMS, SOUND, UNSEEN
from programs.program import Fault
from verdict_table import wilson

from trainability import Diagnosis, Setup
from trainability.checking.check import check_setup
from trainability.checking.confirm import experimented, interventions_for
from trainability.doctor.experimented import JOINT, Arm, Experiments
from trainability.doctor.experiments import variant as variants
from trainability.doctor.experiments.catalogue import INTERVENTIONS
from trainability.doctor.experiments.sources import Source
from trainability.doctor.finding import Finding
from trainability.doctor.tested import OWN, own_code
from trainability.executors import executor_of, results

RESULTS = Path(__file__).parent / "results" / "confirm-faults.jsonl"

# What a change acts on: attributes of `Program`, of its options with their name; the model where nothing is said.
_RATES = ("rate_tenth", "rate_ten", "rate_hundredth", "rate_hundred", "rate_thousand", "rate_measured")
_FACTOR = re.compile(r"times ([\d.,e+-]+), as")  # of `rate_measured`
_ACTS_ON: dict[str, set[str]] = {
    **{name: {"options.lr", "scheduler"} for name in _RATES},
    **{name: {"model", "loss", "training_step"} for name in ("softmax_off", "sigmoid_off", "last_activation_off")},
    **{name: {"train", "loss", "training_step"} for name in ("inputs_standard", "targets_standard")},
    **{name: {"body"} for name in ("zero_grad", "step_in_order", "train_mode")},
    **{name: {"model", "loss", "training_step", "body"} for name in ("detach_off", "straight_through")},
    "batch_larger": {"batch"},
    "maximize_off": {"options.maximize"},
    "rate_held": {"scheduler"},
    "rates_alike": {"trained", "options.lr"},
    "target_shape": {"body", "loss", "model", "train", "training_step"},
    "unfrozen": {"model", "trained"},
    "update_reversed": {"body", "loss", "optimizer", "options.maximize", "options.moves", "training_step"},
    "mean_for_sum": {"loss", "training_step"},
    "momentum_usual": {"options.momentum", "options.betas", "options.dampening"},
    "decay_off": {"options.weight_decay"},
    "eps_usual": {"options.eps", "dtype"},
    "float32": {"dtype"},
    "clip_off": {"clip", "body"},
    "clip_on": {"clip", "body"},
    "shuffled": {"shuffle", "train"},
    "all_parameters": {"trained", "model"},
}


def chosen(asked: list[str]) -> list[str]:
    """Programs by name or of a half: faults and sound ones in turn, in the order of a hash of the name.

    So those that are done when time is up are a sample.

    Raises:
        ValueError: there is no program of a name.
    """
    halves = sorted({half_of(name) for name in PROGRAMS})
    unknown = sorted(set(asked) - {*PROGRAMS, *halves, "both", "earlier"})
    if unknown:
        raise ValueError(f"--faults has {unknown[0]!r}; expected names of programs, {', '.join(halves)}, earlier or both")
    found = [name for name in PROGRAMS if name in asked or half_of(name) in asked or "both" in asked]
    found += [name for name in PROGRAMS if "earlier" in asked and name not in found and _was_scored(name)]
    found.sort(key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    faults, sound = [name for name in found if name in FAULTS], [name for name in found if name in SOUND]
    return [name for pair in itertools.zip_longest(faults, sound) for name in pair if name is not None]


def _was_scored(name: str) -> bool:
    """Whether a program is of the halves of two other authors' sets that were scored before they were read."""
    return name in UNSEEN | FORUM and hashlib.sha256(name.encode()).digest()[0] % 2 == 1


def changed_by(fault: Fault) -> set[str]:
    """What a mistake changes in the sound program."""
    found = {name for name in fault.change if name != "options"}
    before, after = fault.sound.options, fault.change.get("options", fault.sound.options)
    return found | {f"options.{name}" for name in {*before, *after} if before.get(name) != after.get(name)}


def is_true(finding: Finding, fault: Fault, experiments: Experiments | None) -> bool:
    """Whether a finding names the true cause."""
    if finding.rule != OWN or names_cause(finding, fault):
        return names_cause(finding, fault)
    arms = [arm for arm in experiments.confirmed if own_code(arm) == finding.code] if experiments is not None else []
    return any(undoes(part, fault) or _is_that_rate(arm, fault) for arm in arms for part in arm.name.split(JOINT))


def _is_that_rate(arm: Arm, fault: Fault) -> bool:
    """Whether a rate that was measured is larger, or smaller, as a rate that names the true cause is."""
    factor = _FACTOR.search(arm.change) if arm.name == "rate_measured" else None
    if factor is None:
        return False
    alike = "rate_ten" if float(factor[1].replace(",", "")) > 1 else "rate_tenth"
    return f"{OWN}.{alike}" in fault.causes


def undoes(change: str, fault: Fault) -> bool:
    """Whether a change acts on what the mistake changed, and answers to what names it, if anything."""
    alike = {"recommended_weights": "he", "rate_measured": "rate_ten"}
    answers = INTERVENTIONS[alike.get(change, change)].answers
    acts = bool(_ACTS_ON.get(change, {"model"}) & changed_by(fault))
    return acts and (not answers or not {*answers, *(answer.partition(".")[0] for answer in answers)}.isdisjoint(_rules(fault)))


def _rules(fault: Fault) -> set[str]:
    return {*fault.causes, *(cause.partition(".")[0] for cause in fault.causes)}


def measured(name: str, seconds: float, steps: int) -> dict[str, Any]:
    """Check, experiments and the confirmed remedy of one program."""
    run([name])
    runs, program = rows(RUNS), PROGRAMS[name]
    outcome = happened(name, runs)
    row: dict[str, Any] = {"name": name, "kind": KIND[name], "half": half_of(name), "sound": name in SOUND, "happened": outcome}

    def make() -> Setup:
        return setup_of(Built(program, seed=torch.initial_seed()))

    torch.manual_seed(0)
    try:
        setup, began = make(), time.process_time()
        before = check_setup(setup)
        checked, began = time.process_time() - began, time.process_time()
        after = experimented(before, setup, make=make, seconds=seconds, max_steps=steps)
        tried, began = time.process_time() - began, time.process_time()
    except ValueError as error:
        return row | {"refused": str(error)}
    if outcome != "misreported":  # a wrong report costs nothing, and is no program to train
        train(Built(program))
    ordinary = time.process_time() - began
    experiments = after.evidence.experiments
    assert experiments is not None
    fault = FAULTS.get(name)
    row |= {"check": _said(before, fault, None), "confirm": _said(after, fault, experiments)}
    row |= {"state": experiments.state, "steps": experiments.steps, "notes": list(experiments.notes)}
    row["arms"] = {arm.name: [arm.outcome, arm.steps, arm.loss, arm.again] for arm in experiments.arms if arm.curve}
    row["seconds"] = {"check": round(checked, 2), "experiments": round(tried, 2), "run": round(ordinary, 2)}
    if experiments.confirmed and fault is not None:
        first, twin = experiments.confirmed[0].name, outcome_of_twin(name, runs)["score"]
        row["remedy"] = {"change": first, "score": _remedied(name, after, first), "twin": twin}
    return row


def _said(diagnosis: Diagnosis, fault: Fault | None, experiments: Experiments | None) -> dict[str, Any]:
    return {
        "verdict": diagnosis.verdict,
        "findings": [
            [f.code, f.severity, f.tested.outcome if f.tested else "", fault is not None and is_true(f, fault, experiments)]
            for f in diagnosis.findings
        ],
    }


def _remedied(name: str, diagnosis: Diagnosis, change: str) -> float:
    """The score of a program with a change, trained to its end from a third seed."""
    program = PROGRAMS[name]
    built = Built(program, seed=2)
    setup = setup_of(built)
    batches = list(itertools.islice(built.batches(), program.steps))
    source, table = Source(setup, diagnosis.evidence, batches), interventions_for(setup, diagnosis.evidence)
    source.reference = built.held_out
    with source.variant() as variant:
        for part in change.split(JOINT):
            table[part].make(variant)
        data, variant.reference = variant.reference, variant.batches[0]  # what is held out need not have a batch's form
        variants.run(variant, program.steps, every=program.steps)
        for part in variant.parts:
            part.training = False
        if "targets_standard" in change:  # as the outputs are
            targets = torch.cat([batch[-1].flatten() for batch in batches[:64]])
            data = (*data[:-1], (data[-1] - targets.mean()) / targets.std())
        with torch.no_grad():
            return float(f"{float(program.score(variant.model, data)):.4g}")


def summary(found: list[dict[str, Any]]) -> list[str]:
    """The table, with 95 % intervals after Wilson."""
    refused = [row for row in found if "refused" in row]
    found = [row for row in found if "refused" not in row]
    bad = [row for row in found if not row["sound"] and row["happened"] != "trained"]
    sound = [row for row in found if row["sound"] and row["happened"] == "trained"]
    confirming = [(row, f) for row in bad for f in row["confirm"]["findings"] if f[2] == "confirmed"]
    firsts = [next(f for f in row["confirm"]["findings"] if f[2] == "confirmed") for row in bad if _confirms(row)]
    remedies = [row["remedy"] for row in bad if "remedy" in row]
    lines = [
        f"{len(bad)} programs that fail, {len(sound)} sound ones that train; {len(refused)} refused by check",
        _share("right cause first, check", [_is_first_right(row["check"]) for row in bad]),
        _share("right cause first, experiments", [_is_first_right(row["confirm"]) for row in bad]),
        _share("first confirmed cause is true", [f[3] for f in firsts]),
        _share("any confirmed cause is true", [f[3] for _, f in confirming]),
        _share("confirmed remedy trains it", [r["score"] >= 0.9 * r["twin"] for r in remedies]),
        _share("confirmed on sound programs", [_confirms(row) for row in sound]),
    ]
    times = [row["seconds"] for row in found]
    if times:
        whole = [t["check"] + t["experiments"] for t in times]
        ratio = [w / max(t["run"], 0.01) for w, t in zip(whole, times, strict=True)]
        lines.append(f"median {statistics.median(whole):.1f} s a program, {statistics.median(ratio):.1f} times an ordinary run")
    return lines


def details(found: list[dict[str, Any]]) -> list[str]:
    """What went wrong, program by program."""
    lines = []
    for row in found:
        if "refused" in row:
            lines.append(f"refused: {row['name']}: {row['refused']}")
            continue
        marks = ["+" if _is_first_right(row[way]) else "-" for way in ("check", "confirm")]
        wrong = any(f[2] == "confirmed" and not f[3] for f in row["confirm"]["findings"])
        remedy = row.get("remedy")
        poor = remedy is not None and not remedy["score"] >= 0.9 * remedy["twin"]
        if (row["sound"] and not wrong) or (
            not row["sound"] and (row["happened"] == "trained" or marks[1] == "+") and not wrong and not poor
        ):
            continue
        lines.append(f"{''.join(marks)} {row['name']} ({row['happened']}, {row['state']}), remedy {remedy}")
        lines.append(f"     check:   {_spelt(row['check'])}")
        lines.append(f"     confirm: {_spelt(row['confirm'])}")
        best = [f"{k} {v[0]} {v[2]:.3g}" for k, v in row["arms"].items() if v[2] is not None]
        lines.append(f"     arms:    {', '.join(best[:6])}")
    return lines


def _confirms(row: dict[str, Any]) -> bool:
    return any(f[2] == "confirmed" for f in row["confirm"]["findings"])


def _is_first_right(said: dict[str, Any]) -> bool:
    return bool(said["findings"]) and said["findings"][0][3]


def _share(title: str, answers: list[bool]) -> str:
    right, n = sum(answers), len(answers)
    low, high = wilson(right, n)
    return f"{title:32s} {right:3d} of {n:3d}  {right / max(n, 1):6.1%}  ({low:.1%} to {high:.1%})"


def _spelt(said: dict[str, Any]) -> str:
    codes = [
        f"{code} ({severity}{', ' + tested if tested else ''}{', TRUE' if true else ''})"
        for code, severity, tested, true in said["findings"][:4]
    ]
    return f"{said['verdict']}: {', '.join(codes) or 'nothing'}"


def _measured(task: tuple[str, float, int]) -> dict[str, Any]:
    time.monotonic = time.process_time  # type: ignore[assignment]  # as confirm.py has it, in a process of its own
    warnings.simplefilter("ignore")
    return measured(*task)


def main(
    asked: list[str], seconds: float, steps: int, out: Path | None, *, wrong: bool, stop_after: float, processes: int | None
) -> None:
    """Measures the programs that the record lacks, and prints the table."""
    path = out if out is not None else RESULTS
    names, began = chosen(asked), time.perf_counter()
    done = rows(path)
    tasks = {name: (name, seconds, steps) for name in names if name not in done}
    with executor_of(processes or 1) as pool, contextlib.closing(results(pool, _measured, tasks)) as made:
        for count, (name, row) in enumerate(made, 1):
            append(path, row)
            print(f"{count} of {len(tasks)}: {name}", flush=True)
            if time.perf_counter() - began > stop_after:
                break
    found = [row for name, row in rows(path).items() if name in names]
    print("\n".join([f"{len(found)} of {len(names)} programs", *summary(found), *(details(found) if wrong else [])]))
