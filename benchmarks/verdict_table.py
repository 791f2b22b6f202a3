"""How often each verdict of a rehearsal is right, on the runs of `verdicts.py`.

python benchmarks/verdict_table.py                  # thresholds were set on the even seeds; the table is of the odd ones

What happened to a program is told by its run alone, and by the same program's runs at other learning rates where it did not
train. The share is of the way from chance to the floor, the end is the median of the last fifth.

- trained: the share is above a quarter at the end.
- capped: it is a quarter of the way to what its bounded outputs allow, and they allow a tenth less than the task does; or they
  do not allow a quarter of the way.
- too slow: it did not train, and a larger rate trains it, or brings it a tenth of the way further; or it is still on its way.
- unstable: it did not train, and a smaller rate trains it or brings it a tenth further; or it ends above where it began and
  above chance, or not finite; or it had been a tenth of the way further than it ends.
- unmoved: it stays within three thousandths of the way from where it began, and none of the above: too slow and dead alike.
- collapsed: its outputs depended on the input at the start (by 1 % of their size) and do not at the end (0.1 %).
- dead: it stays within a twentieth of the way from chance, and no other rate that was tried does better.
- stalled: none of these.
"""

import argparse
import functools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from random_programs import build
from verdicts import LEARNED, RUNS, STEPS, end_loss, rows, share_learned

from trainability.doctor.outlook import VERDICTS, Outlook, judge_rehearsal
from trainability.doctor.rehearsed import CriticalStep, Observation, Rehearsal, RehearsedStep, Task
from trainability.doctor.rules.verdict import diagnose
from trainability.doctor.tasks import recognise

_STILL, _FURTHER, _UNMOVED = 0.05, 0.1, 0.003  # of the way from chance to the floor
RIGHT = {
    # verdict: what may have happened
    "will train": {"trained"},
    "too slow": {"too slow", "unmoved"},
    "stalled": {"stalled", "too slow", "dead", "unmoved"},
    "capped": {"capped"},
    "unstable": {"unstable", "collapsed"},
    "dead": {"dead", "collapsed", "unmoved"},
    "broken loss": {"unstable", "dead", "collapsed"},
    "has learned": {"trained"},
}


def outcome(row: dict[str, Any]) -> str:
    """What happened."""
    spec, curve = row["spec"], row["curve"]
    shares = [share_learned(values[0], row) for values in curve.values()]
    end, start = share_learned(end_loss(curve), row), shares[0]
    if spec["fault"] in ("probabilities_in", "bounded_output"):
        floor = task_of(spec["seed"], _key(row)).floor or 0.0
        reached = (row["chance"] - end_loss(curve)) / max(row["chance"] - floor, 1e-9)
        if floor > row["chance"] - LEARNED * (row["chance"] - row["floor"]):
            return "capped"
        if floor > row["floor"] + 0.1 * (row["chance"] - row["floor"]) and reached > LEARNED:
            return "capped"
    if end > LEARNED:
        return "trained"
    if not math.isfinite(end):
        return "unstable"
    for other in row["other_rates"]:
        if other["share"] > LEARNED:
            return "too slow" if other["lr"] > spec["lr"] else "unstable"
    if end < min(start, 0.0) - _STILL or max(shares) > max(end, 0.0) + _FURTHER:
        return "unstable"
    if _collapsed(curve):
        return "collapsed"
    if max(abs(share - start) for share in shares) < _UNMOVED:
        return "unmoved"
    better = [other for other in row["other_rates"] if other["share"] > end + _FURTHER]
    if better:
        return "too slow" if better[0]["lr"] > spec["lr"] else "unstable"
    half = share_learned(curve[str(STEPS // 2 + 10)][0], row)
    if end - half > max(0.2 * (end - start), 0.02):
        return "too slow"
    return "dead" if end < _STILL else "stalled"


def _collapsed(curve: dict[str, Any]) -> bool:
    (_, rms, spread), (_, last_rms, last_spread) = next(iter(curve.values())), list(curve.values())[-1]
    return spread > 1e-2 * rms and last_spread < 1e-3 * last_rms


def _key(row: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(row["spec"].items())


@functools.cache
def task_of(seed: int, spec: tuple[tuple[str, Any], ...]) -> Task:
    """What the doctor recognises on the reference batch before the first step."""
    program = build(dict(spec))
    program.model.train()
    inputs, targets = program.reference
    output = program.model(inputs)
    return recognise(output, [("[1]", targets)], float(program.loss_fn(output, targets).detach()))


def rehearsal_of(row: dict[str, Any], steps: int) -> Rehearsal:
    """The rehearsal of that many steps, as the run holds it."""
    observations = [
        Observation(step=int(step), loss=loss, output_rms=rms, output_spread=spread)
        for step, (loss, rms, spread) in row["curve"].items()
        if int(step) <= steps
    ]
    never = row["spec"]["fault"] == "never_steps"
    seen = list(zip(row["losses"], row["norms"], strict=True))[:steps]
    rates = _rates(row["spec"], len(seen))
    body = [
        RehearsedStep(step=i + 1, loss=loss, gradient_norm=norm, lr=None if never else rates[i], optimizer_steps=int(not never))
        for i, (loss, norm) in enumerate(seen)
    ]
    critical = [(int(step), _critical(values)) for step, values in row["critical"].items() if int(step) <= steps]
    bad = any(not math.isfinite(step.loss or 0.0) for step in body) or max(map(int, row["curve"])) < steps
    return Rehearsal(
        steps=tuple(body),
        reference=tuple(observations),
        critical=tuple(critical),
        task=task_of(row["spec"]["seed"], _key(row)),
        planned_steps=STEPS,
        ended_by="not finite" if bad else "steps",
        num_parameters=1,
        unmoved=("weight",) if never else (),
        stale_fraction=1.0 if row["spec"]["fault"] == "no_zero_grad" else 0.0,  # what the rehearsal counts
    )


def _critical(values: dict[str, Any]) -> CriticalStep:
    return CriticalStep(
        multiple=values["multiple"],
        at_limit=values["at_limit"],
        loss_before=values["before"],
        loss_after=values["after"],
        lowest_loss=values["lowest"],
        resolution=4 * 1.2e-7 * abs(values["before"]),
        update_norm=values["update_norm"],
        num_evaluations=values["forwards"],
    )


def _rates(spec: dict[str, Any], steps: int) -> list[float]:
    """Learning rates of the first steps."""
    program = build(spec, steps=STEPS)
    rates = []
    for _ in range(steps):
        rates.append(program.optimizer.param_groups[0]["lr"])
        if program.scheduler is not None:
            program.optimizer.step()
            program.scheduler.step()
    return rates


def wilson(right: int, n: int) -> tuple[float, float]:
    """95 % interval of a share, after Wilson 1927."""
    if n == 0:
        return 0.0, 1.0
    z, p = 1.96, right / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


def judged(path: Path, steps: int) -> list[tuple[dict[str, Any], str, Outlook]]:
    """Rows with what happened and what was said: the verdict of `diagnose`, the rest of the outlook."""
    found = []
    for row in rows(path):
        rehearsal = rehearsal_of(row, steps)
        outlook = replace(judge_rehearsal(rehearsal), verdict=diagnose(rehearsal).verdict)
        found.append((row, outcome(row), outlook))
    return found


def steps_to_learn(row: dict[str, Any]) -> float:
    """Step at which the reference loss first was a quarter of the way; infinite where it never was."""
    return next((float(step) for step, values in row["curve"].items() if share_learned(values[0], row) > LEARNED), math.inf)


def table(found: list[tuple[dict[str, Any], str, Outlook]], steps: int) -> list[str]:
    """The reliability table, and how well the steps that are needed were predicted."""
    lines = [f"{len(found)} programs, {steps} of {STEPS} steps rehearsed"]
    lines.append(f"{'verdict':12s} {'said':>5s} {'right':>5s}  share  95 % interval   what happened")
    for verdict in VERDICTS:
        said = [happened for _, happened, outlook in found if outlook.verdict == verdict]
        right = sum(happened in RIGHT.get(verdict, set()) for happened in said)
        counts = ", ".join(f"{name} {said.count(name)}" for name in sorted(set(said)))
        low, high = wilson(right, len(said))
        share = f"{right / len(said):5.2f}" if said and verdict in RIGHT else "    -"
        lines.append(f"{verdict:12s} {len(said):5d} {right:5d}  {share}  {low:.2f} to {high:.2f}    {counts}")
    ratios = [
        outlook.steps_needed / steps_to_learn(row)
        for row, _, outlook in found
        if outlook.steps_needed is not None and steps < outlook.steps_needed < math.inf and steps_to_learn(row) < math.inf
    ]
    near = sum(0.5 <= ratio <= 2 for ratio in ratios)
    lines.append(f"steps to a quarter of the way, predicted beyond the rehearsal: {near} of {len(ratios)} within a factor 2")
    return lines


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, default=RUNS)
    parser.add_argument("--half", choices=["even", "odd", "both"], default="odd")
    parser.add_argument("--steps", type=int, nargs="+", default=[30, 100])
    parser.add_argument("--wrong", action="store_true", help="also list the wrong ones")
    arguments = parser.parse_args()
    parity = {"even": {0}, "odd": {1}, "both": {0, 1}}[arguments.half]
    for steps in arguments.steps:
        found = [item for item in judged(arguments.path, steps) if item[0]["spec"]["seed"] % 2 in parity]
        print(f"{arguments.half} seeds: " + "\n".join(table(found, steps)) + "\n")
        for row, happened, outlook in found if arguments.wrong else ():
            if happened not in RIGHT.get(outlook.verdict, set()):
                print(row["spec"]["seed"], happened, outlook)


if __name__ == "__main__":
    main()
