"""What was said of the programs against what happened to them: the table, the remedies that were tried, rates per rule."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fault_remedies import followed, names_cause
from fault_runs import REMEDIES, RUNS, append, happened, outcome_of, outcome_of_twin, rows
from programs.catalogue import FAULTS, KIND, SOUND
from verdict_table import wilson

from trainability.doctor import Diagnosis, Evidence, diagnose
from trainability.doctor.diagnosis import Verdict
from trainability.doctor.finding import SEVERITIES, Finding
from trainability.doctor.rules.catalogue import RATES, RULES

WAYS = ("before", "during", "both")
# Verdicts that say that a program will not train, or has not.
BAD: tuple[Verdict, ...] = ("too slow", "stalled", "capped", "dead", "unstable", "broken loss", "broken data", "broken metric")


@dataclass(frozen=True, kw_only=True)
class Said:
    """What the doctor says of one program, in one of three ways.

    Attributes:
        verdicts: one, or one per model.
        findings: worst first.
        refused: the message of a `check` that could not look.
    """

    verdicts: tuple[str, ...]
    findings: tuple[Finding, ...]
    refused: str = ""

    @property
    def alarmed(self) -> bool:
        """Whether anything is worse than a hint, or a verdict is bad."""
        return bool(self.refused) or any(v in BAD for v in self.verdicts) or any(f.severity != "hint" for f in self.findings)


def said_of(name: str, evidence: Path) -> dict[str, Said]:
    """The doctor's answers by way: `check` alone, Monitor alone, and Monitor with what `check` saw before."""
    kept = json.loads((evidence / f"{name.replace(' ', '-')}.json").read_text())
    seen = [Evidence.from_dict(e) for e in kept["during"]]
    before = Evidence.from_dict(kept["before"]["evidence"]) if kept["before"] else None
    alone = [diagnose(before)] if before is not None else []
    told = {"before": _joined(alone, kept.get("refused", "")), "during": _joined([diagnose(e) for e in seen])}
    # The prescribed plan of a finding is written by `check`, which has the model.
    plans = {f["rule"]: f["remedy"] for f in (kept["before"] or {"findings": []})["findings"] if "init_(" in f["remedy"]}
    told["both"] = _joined([diagnose(before.merge(e)) for e in seen]) if before is not None else told["during"]
    told["both"] = replace(told["both"], refused=told["before"].refused)
    return {way: _with_plans(said, plans) for way, said in told.items()}


def _joined(answers: list[Diagnosis], refused: str = "") -> Said:
    findings = sorted((f for d in answers for f in d.findings), key=lambda f: -SEVERITIES.index(f.severity))
    return Said(verdicts=tuple(d.verdict for d in answers), findings=tuple(findings), refused=refused)


def _with_plans(said: Said, plans: dict[str, str]) -> Said:
    kept = [replace(f, remedy=plans[f.code]) if f.code in plans else f for f in said.findings]
    return replace(said, findings=tuple(kept))


def is_right(name: str, said: Said) -> bool:
    """Whether the first finding names the true cause."""
    return bool(said.findings) and names_cause(said.findings[0], FAULTS[name])


def try_remedies(names: list[str], evidence: Path) -> None:
    """Trains each fault with the first remedy of the diagnosis, unless that very remedy was tried before."""
    runs, done = rows(RUNS), rows(REMEDIES)
    for name in (n for n in names if n in FAULTS and happened(n, runs) != "trained"):
        first = next(iter(said_of(name, evidence)["both"].findings), None)
        told = {"code": first.code, "remedy": first.remedy} if first is not None else {"code": None, "remedy": None}
        if name in done and {k: done[name][k] for k in told} == told:
            continue
        program = followed(FAULTS[name].program, first, FAULTS[name]) if first is not None else None
        outcome = outcome_of(program)[0] if program is not None else {}
        append(REMEDIES, {"name": name, **told, "follows": program is not None, **outcome})


def mended(name: str, runs: dict[str, dict[str, Any]], tried: dict[str, dict[str, Any]]) -> bool | None:
    """Whether the program trains with its first remedy; None where the remedy names no change to make."""
    row = tried.get(name)
    if row is None or row["code"] is None:
        return False
    if not row["follows"]:
        return None
    twin = outcome_of_twin(name, runs)
    told = happened(name, runs) != "misreported" or abs(row["reported"] - twin["reported"]) <= 0.05
    return bool(row["score"] >= 0.9 * twin["score"]) and told


def table(names: list[str], evidence: Path, half: str, *, wrong: bool) -> list[str]:
    """The table of one half, with 95 % intervals after Wilson."""
    runs, tried = rows(RUNS), rows(REMEDIES)
    told = {n: said_of(n, evidence) for n in names}
    bad = [n for n in names if n in FAULTS and happened(n, runs) != "trained"]
    odd = [n for n in names if n in FAULTS and n not in bad]
    sound = [n for n in names if n in SOUND and happened(n, runs) == "trained"]
    lines = [
        f"{half} half: {len(bad)} programs that fail, {len(sound)} sound ones that train, {len(odd)} mistakes without harm"
    ]
    for way in WAYS:
        lines.append(f"{way}:")
        lines.append(_share("  detected", [told[n][way].alarmed for n in bad]))
        lines.append(_share("  right cause first", [is_right(n, told[n][way]) for n in bad]))
        lines.append(_share("  false alarms", [told[n][way].alarmed for n in sound]))
    answers = {n: mended(n, runs, tried) for n in bad}
    lines.append(_share("first remedy makes it train", [bool(a) for a in answers.values()]))
    lines.append(f"  of those that do not, {sum(a is None for a in answers.values())} remedies ask to look and name no change")
    for kind in sorted({KIND[n] for n in bad}):
        own = [n for n in bad if KIND[n] == kind]
        right, seen = sum(is_right(n, told[n]["both"]) for n in own), sum(told[n]["both"].alarmed for n in own)
        lines.append(f"  {kind:12s} {len(own):3d} fail, {seen:3d} detected, {right:3d} right cause first")
    if wrong:
        lines += _details(bad, sound, odd, told, answers)
    return lines


def _share(title: str, answers: list[bool]) -> str:
    right, n = sum(answers), len(answers)
    low, high = wilson(right, n)
    return f"{title:30s} {right:3d} of {n:3d}  {right / max(n, 1):6.1%}  ({low:.1%} to {high:.1%})"


def _details(bad: list[str], sound: list[str], odd: list[str], told: dict, answers: dict) -> list[str]:
    lines = [""]
    for name in bad:
        said = told[name]
        marks = "".join("+" if is_right(name, said[way]) else "." if said[way].alarmed else "-" for way in WAYS)
        if marks != "+++" or not answers[name]:
            lines.append(f"{marks} remedy {answers[name]}: {name} [{' '.join(sorted(FAULTS[name].causes))}]")
            lines += [f"      {way}: {_spelt(said[way])}" for way in WAYS]
    for title, group in (("sound", sound), ("no harm", odd)):
        lines += [
            f"{title}: {name} {way}: {_spelt(told[name][way])}" for name in group for way in WAYS if told[name][way].alarmed
        ]
    return lines


def _spelt(said: Said) -> str:
    codes = ", ".join(f"{f.code} ({f.severity})" for f in said.findings[:4])
    return f"{'/'.join(said.verdicts)}: {codes or 'nothing'}{' refused: ' + said.refused if said.refused else ''}"


def write_rates(names: list[str], evidence: Path) -> None:
    """Writes how often each rule fired, above a hint, and was right, for the rules' pages."""
    runs = rows(RUNS)
    told = {n: said_of(n, evidence)["both"] for n in names}
    bad = [n for n in names if n in FAULTS and happened(n, runs) != "trained"]
    sound = [n for n in names if n in SOUND and happened(n, runs) == "trained"]
    rates = {}
    for rule in RULES:

        def fires(name: str, rule: str = rule) -> bool:
            return any(f.rule == rule and f.severity != "hint" for f in told[name].findings)

        def right(name: str, rule: str = rule) -> bool:
            return any(f.rule == rule and names_cause(f, FAULTS[name]) for f in told[name].findings)

        rates[rule] = {
            "fired": sum(map(fires, bad)),
            "right": sum(fires(n) and right(n) for n in bad),
            "first": sum(fires(n) and right(n) and told[n].findings[0].rule == rule for n in bad),
            "false_alarms": sum(map(fires, sound)),
        }
    RATES.write_text(json.dumps({"faults": len(bad), "sound": len(sound), "rules": rates}, indent=1) + "\n")
