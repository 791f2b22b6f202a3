"""How often each verdict of a rehearsal is right, on the runs of `verdicts.py`.

python benchmarks/verdict_table.py                  # thresholds were set on the even seeds; the table is of the odd ones

What happened to a program is told by its run alone, and by the same program's runs with other learning rates where it did not
train:

- trained: the reference loss is a quarter of the way from chance to the floor at the end (median of the last eighth).
- capped: it is, but its outputs are bounded so that the loss cannot come near the task's own floor.
- too slow: it did not train, and does with a larger rate; or it is still on its way at the end.
- unstable: it did not train, and does with a smaller rate; or it ends above where it began and above chance, or not finite.
- dead: it did not train, stays within a twentieth of the way from where it was, and no other rate trains it.
"""

import argparse
import functools
import math
from pathlib import Path
from typing import Any

from random_programs import build
from verdicts import LEARNED, RUNS, STEPS, end_loss, rows, share_learned

from trainability.doctor.measure.outlook import VERDICTS, Outlook, judge_rehearsal
from trainability.doctor.rehearsed import CriticalStep, Observation, Rehearsal, RehearsedStep, Task
from trainability.doctor.tasks import recognise

_STILL = 0.05  # of the way from chance to the floor
RIGHT = {
    # verdict: what may have happened
    "will train": {"trained"},
    "too slow": {"too slow"},
    "stalled": {"stalled", "too slow", "dead"},
    "capped": {"capped"},
    "unstable": {"unstable"},
    "dead": {"dead"},
    "broken loss": {"unstable", "dead"},
    "has learned": {"trained"},
}


def outcome(row: dict[str, Any], other_rates: dict[str, float] | None) -> str | None:
    """What happened; None where the other rates have not been tried yet."""
    end = end_loss(row["curve"])
    share, start = share_learned(end, row), share_learned(row["curve"]["0"], row)
    if row["spec"]["fault"] in ("probabilities_in", "bounded_output") and task_of(row["spec"]["seed"], _key(row)).floor:
        task = task_of(row["spec"]["seed"], _key(row))
        capped = (row["chance"] - end) / max(row["chance"] - (task.floor or 0.0), 1e-9)
        if (task.floor or 0.0) > row["floor"] + 0.1 * (row["chance"] - row["floor"]) and capped > LEARNED:
            return "capped"
    if share > LEARNED:
        return "trained"
    if row["spec"]["fault"] == "never_steps":
        return "dead"
    if other_rates is None:
        return None
    trains = [float(factor) for factor, learned in other_rates.items() if learned > LEARNED]
    if trains:
        return "too slow" if trains[0] > 1 else "unstable"
    if not math.isfinite(share) or share < min(start, 0.0) - _STILL:
        return "unstable"
    half = row["curve"].get(str(STEPS // 2))
    moving = half is not None and share - share_learned(half, row) > 0.2 * max(share - start, _STILL)
    if moving:
        return "too slow"
    return "dead" if share < _STILL else "stalled"


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
    observations = []
    for step, loss in row["curve"].items():
        if int(step) <= steps:
            seen = row["measured"].get(step, {})
            fields = {"output_rms": seen.get("output_rms"), "output_spread": seen.get("output_spread")}
            observations.append(Observation(step=int(step), loss=loss, **fields))
    never = row["spec"]["fault"] == "never_steps"
    rates = _rates(row["spec"], steps)
    body = [
        RehearsedStep(step=i + 1, loss=loss, gradient_norm=norm, lr=None if never else rates[i], optimizer_steps=int(not never))
        for i, (loss, norm) in enumerate(zip(row["losses"][:30], row["norms"][:30], strict=True))
    ]
    critical = [(int(step), _critical(values)) for step, values in row["critical"].items() if int(step) <= steps]
    bad = any(not math.isfinite(step.loss or 0.0) for step in body) or row["ended_at"] < steps
    return Rehearsal(
        steps=tuple(body),
        reference=tuple(observations),
        critical=tuple(critical),
        task=task_of(row["spec"]["seed"], _key(row)),
        planned_steps=STEPS,
        ended_by="not finite" if bad else "steps",
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
    """Rows with what happened and what was said, where the first is known."""
    others = {row["seed"]: row["learned"] for row in rows(path.with_name(path.stem + "-other-rates.jsonl"))}
    found = []
    for row in rows(path):
        happened = outcome(row, others.get(row["spec"]["seed"]))
        if happened is not None:
            found.append((row, happened, judge_rehearsal(rehearsal_of(row, steps))))
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, default=RUNS)
    parser.add_argument("--half", choices=["even", "odd", "both"], default="odd")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--wrong", action="store_true", help="also list the wrong ones")
    arguments = parser.parse_args()
    parity = {"even": {0}, "odd": {1}, "both": {0, 1}}[arguments.half]
    all_rows = [item for item in judged(arguments.path, arguments.steps) if item[0]["spec"]["seed"] % 2 in parity]
    print(f"{len(all_rows)} programs, {arguments.steps} of {STEPS} steps rehearsed, {arguments.half} seeds")
    print(f"{'verdict':12s} {'said':>5s} {'right':>5s}  share  95 % interval   what happened")
    for verdict in VERDICTS:
        said = [happened for _, happened, outlook in all_rows if outlook.verdict == verdict]
        right = sum(happened in RIGHT.get(verdict, set()) for happened in said)
        counts = {name: said.count(name) for name in sorted(set(said))}
        low, high = wilson(right, len(said))
        share = right / len(said) if said else math.nan
        print(f"{verdict:12s} {len(said):5d} {right:5d}  {share:5.2f}  {low:.2f} to {high:.2f}    {counts}")
    if arguments.wrong:
        for row, happened, outlook in all_rows:
            if happened not in RIGHT.get(outlook.verdict, set()):
                print(row["spec"]["seed"], happened, outlook)


if __name__ == "__main__":
    main()
