"""How often each verdict of a rehearsal is right, on the runs of `verdicts.py`.

python benchmarks/verdict_table.py                  # thresholds were set on the seeds below 1300; the table is of the others
python benchmarks/verdict_table.py --of set         # of those that they were set on

What happened to a program is told by its run alone, and by the same program's runs of the same length at other learning rates
where it did not train. The share is of the way from what the best constant answer costs on the reference batch to the floor of
the task, or of its bounded outputs; the end is the median of the last fifth.

- trained: the share is above a quarter at the end.
- too slow: it did not train, and a larger rate trains it, or comes a tenth of the way further than it and than chance; or it is
  still on its way: the second half brought a fifth of what the whole did, or of what it lacked to chance.
- unstable: it did not train, and a smaller rate does as much; or it ends above where it began and above chance, or not finite;
  or it had been a tenth of the way further than it ends.
- collapsed: its outputs depended on the input at the start (by 1 % of their size) and do not at the end (0.1 %).
- unmoved: it stays within three thousandths of the way from where it began, and none of the above: too slow and dead alike.
- dead: its share ends below a twentieth, or no output ever depends on the input, and no other rate that was tried does better.
- stalled: none of these.

Beside that, a program is capped if its last function keeps its loss above a tenth of chance. What is capped may be said to be
capped while it is neither dead nor unstable, or to be too slow, and not to train.
"""

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from verdict_rehearsals import STEPS, rehearsal_of, task_of
from verdicts import LEARNED, RUNS, end_loss, rows, share_learned

from trainability.doctor.measure.rehearsed_steps import CRITICAL_STEPS
from trainability.doctor.outlook import Outlook, is_settled, judge_rehearsal
from trainability.doctor.outlook_limits import VERDICTS
from trainability.doctor.rehearsed import Rehearsal
from trainability.doctor.rules.verdict import diagnose

FRESH = 1300  # seeds from here on were drawn after the thresholds were set
_STILL, _FURTHER, _UNMOVED = 0.05, 0.1, 0.003  # of the way from chance to the floor
RIGHT = {
    # verdict: what may have happened
    "will train": {"trained"},
    "too slow": {"too slow", "unmoved"},
    "stalled": {"stalled", "too slow", "dead", "unmoved"},
    "capped": {"trained", "too slow", "stalled", "unmoved"},  # of what is capped
    "unstable": {"unstable", "collapsed"},
    "dead": {"dead", "collapsed", "unmoved"},
    "broken loss": {"unstable", "dead", "collapsed"},
    "has learned": {"trained"},
}


def outcome(row: dict[str, Any]) -> str:
    """What happened."""
    spec, curve = row["spec"], row["curve"]
    steps, shares = [int(step) for step in curve], [_share(values[0], row) for values in curve.values()]
    end, start = _share(end_loss(curve), row), shares[0]
    if end > LEARNED:
        return "trained"
    if not math.isfinite(end):
        return "unstable"
    others = [(other["lr"], _share(row["chance"] - other["share"] * _way(row), row)) for other in row["other_rates"]]
    for lr, share in others:
        if share > LEARNED:
            return "too slow" if lr > spec["lr"] else "unstable"
    if all(spread <= 1e-3 * rms for _, rms, spread in curve.values()) and abs(end) < LEARNED:
        return "dead"
    before = [share for step, share in zip(steps, shares, strict=True) if step <= STEPS - 60]
    if end < min(start, 0.0) - _STILL or max(before) > max(end, 0.0) + _FURTHER:
        return "unstable"
    if _collapsed(curve):
        return "collapsed"
    if max(abs(share - start) for share in shares) < _UNMOVED:
        return "unmoved"
    better = [lr for lr, share in others if share > max(end, 0.0) + _FURTHER]
    if better:
        return "too slow" if better[0] > spec["lr"] else "unstable"
    half = _share(curve[str(STEPS // 2 + 10)][0], row)
    if end - half > max(0.2 * (end - start), 0.02) or (end < -_STILL and end - half > -0.2 * half):
        return "too slow"
    return "dead" if end < _STILL else "stalled"


def is_capped(row: dict[str, Any]) -> bool:
    """Whether the program's last function keeps its loss above a tenth of chance, where the task would let it fall lower."""
    return _floor(row) > max(row["floor"], 0.1 * row["chance"])


def _way(row: dict[str, Any]) -> float:
    return row["chance"] - row["floor"]


def _floor(row: dict[str, Any]) -> float:
    """Lowest loss that the program's last function allows."""
    if row["spec"]["fault"] not in ("probabilities_in", "bounded_output"):
        return row["floor"]
    return max(row["floor"], task_of(row).floor or 0.0)


def _share(loss: float, row: dict[str, Any]) -> float:
    """Of the way from what the best constant answer costs on the reference batch to the lowest loss that can be reached."""
    chance = task_of(row).chance
    floor = _floor(row) if is_capped(row) else row["floor"]
    return share_learned(loss, {"chance": row["chance"] if chance is None else chance, "floor": floor})


def _collapsed(curve: dict[str, Any]) -> bool:
    (_, rms, spread), (_, last_rms, last_spread) = next(iter(curve.values())), list(curve.values())[-1]
    return spread > 1e-2 * rms and last_spread < 1e-3 * last_rms


def is_right(verdict: str, happened: str, row: dict[str, Any]) -> bool:
    """Whether what was said is what happened; what is capped is not said to train, and nothing else is said to be capped."""
    fits = happened in RIGHT.get(verdict, set())
    return fits and (verdict not in ("capped", "will train") or is_capped(row) == (verdict == "capped"))


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
        rehearsal = as_checked(row, steps)
        outlook = replace(judge_rehearsal(rehearsal), verdict=diagnose(rehearsal).verdict)
        found.append((row, outcome(row), outlook))
    return found


def as_checked(row: dict[str, Any], steps: int) -> Rehearsal:
    """The rehearsal as `check` makes it: ended where its answer is settled."""
    for number in CRITICAL_STEPS:
        rehearsal = rehearsal_of(row, min(number, steps))
        if number < steps and rehearsal.ended_by == "steps" and is_settled(rehearsal):
            return rehearsal
    return rehearsal_of(row, steps)


def steps_to_learn(row: dict[str, Any]) -> float:
    """Step at which the reference loss first was a quarter of the way; infinite where it never was."""
    return next((float(step) for step, values in row["curve"].items() if share_learned(values[0], row) > LEARNED), math.inf)


def table(found: list[tuple[dict[str, Any], str, Outlook]], steps: int) -> list[str]:
    """The reliability table, and how well the steps that are needed were predicted."""
    lines = [f"{len(found)} programs, {steps} of {STEPS} steps rehearsed, or fewer where the answer was settled"]
    lines.append(f"{'verdict':12s} {'said':>5s} {'right':>5s}  share  95 % interval   what happened")
    for verdict in VERDICTS:
        said = [(row, happened) for row, happened, outlook in found if outlook.verdict == verdict]
        right = sum(is_right(verdict, happened, row) for row, happened in said)
        names = [("capped, " if is_capped(row) else "") + happened for row, happened in said]
        counts = "; ".join(f"{name} {names.count(name)}" for name in sorted(set(names)))
        low, high = wilson(right, len(said))
        share = f"{right / len(said):5.2f}" if said and verdict in RIGHT else "    -"
        lines.append(f"{verdict:12s} {len(said):5d} {right:5d}  {share}  {low:.2f} to {high:.2f}    {counts}")
    near, far, open_ = 0, 0, 0
    for row, _, outlook in found:
        said, took = outlook.steps_needed, steps_to_learn(row)
        if said is None or not steps < said < math.inf:
            continue
        if took < math.inf:
            near, far = near + (0.5 <= said / took <= 2), far + (not 0.5 <= said / took <= 2)
        else:  # more than the run: too few were said, or the run is too short to tell
            far, open_ = far + (2 * said < STEPS), open_ + (2 * said >= STEPS)
    lines.append(
        f"steps to a quarter of the way, predicted beyond the rehearsal: {near} of {near + far} within a factor 2; {open_} open"
    )
    return lines


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, default=RUNS)
    parser.add_argument("--of", choices=["set", "fresh"], default="fresh", help="seeds below 1300, or the others")
    parser.add_argument("--steps", type=int, nargs="+", default=[30, 100])
    parser.add_argument("--wrong", action="store_true", help="also list the wrong ones")
    arguments = parser.parse_args()
    for steps in arguments.steps:
        fresh = arguments.of == "fresh"
        found = [item for item in judged(arguments.path, steps) if (item[0]["spec"]["seed"] >= FRESH) == fresh]
        print("\n".join(table(found, steps)) + "\n")
        for row, happened, outlook in found if arguments.wrong else ():
            if not is_right(outlook.verdict, happened, row):
                print(row["spec"]["seed"], happened, outlook)


if __name__ == "__main__":
    main()
