"""All rules by name, and their pages for the terminal, for Python and for docs/rules.md. No torch."""

import difflib
import functools
import inspect
import json
import re
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

from trainability.doctor.rules import (
    adversaries,
    alike,
    augmentation,
    class_numbers,
    class_order,
    clip,
    conflicts,
    cut_off,
    data,
    dropping,
    edges,
    evaluations,
    experiments,
    flat,
    gradients,
    head,
    heads,
    idle_terms,
    input_scale,
    inputs,
    kept,
    label_maps,
    layers,
    loop,
    loss,
    lowest_loss,
    momentum,
    moved_by_losses,
    noise_schedule,
    outputs,
    outputs_alike,
    own_target,
    parameters,
    places_away,
    processes,
    reach,
    rehearsal,
    run,
    sequence_ends,
    signs,
    slow_average,
    splits,
    start,
    steps_again,
    targets,
    unread_examples,
    unusable,
    updates,
    warm_up,
    written_data,
)
from trainability.doctor.rules.rule import Rule
from trainability.doctor.told import told

WIDTH = 110

# Files by what their rules look at, in the order in which findings of equal severity are listed: upstream causes first.
FILES: tuple[ModuleType, ...] = (
    unusable,
    written_data,
    data,
    conflicts,
    label_maps,
    input_scale,
    class_order,
    inputs,
    edges,
    sequence_ends,
    targets,
    splits,
    unread_examples,
    augmentation,
    head,
    heads,
    places_away,
    class_numbers,
    reach,
    signs,
    loss,
    parameters,
    flat,
    alike,
    cut_off,
    moved_by_losses,
    idle_terms,
    noise_schedule,
    own_target,
    adversaries,
    rehearsal,
    steps_again,
    lowest_loss,
    momentum,
    outputs,
    outputs_alike,
    loop,
    kept,
    processes,
    clip,
    start,
    gradients,
    updates,
    warm_up,
    slow_average,
    dropping,
    layers,
    run,
    evaluations,
    experiments,
)

RATES = Path(__file__).with_name("rates.json")  # written by `benchmarks/faults.py rates`; read when a page is made

# Where a section begins to tell of another code: "Code `row`: ...", "A warning with code `row`: ...", "; `row`: ...".
_BEFORE = r"(?:An? (?:error|warning|hint)[\w ,]*? |[A-Z]\w+[\w ,]{0,40}: )?[Cc]odes? "
_ITEM = re.compile(rf"(?<=[.;] )(?={_BEFORE}`|`[a-z_]+`[,:])")
_LEAD = re.compile(rf"(?:{_BEFORE})?(?=`)")

RULES: dict[str, Rule] = {rule.name: rule for file in FILES for rule in vars(file).values() if isinstance(rule, Rule)}


def explain(name: str) -> str:
    """Explain one rule: when it fires, why, what fools it, how to fix what it finds, and the source.

    Args:
        name: of the rule, as findings give it, such as "gain_budget_low"; or the code of a finding, such as
            "gain_budget_low.input", for what the page says of that code and of the rule in general.

    Returns:
        Plain text of at most 110 characters a line.

    Raises:
        ValueError: no rule has that name, and the message names the nearest one; or the rule has no such code.
    """
    if not isinstance(name, str):
        raise ValueError(f"name is {told(name)}; expected that of a rule, such as 'gain_budget_low'")
    rule = RULES.get(name.partition(".")[0])
    if rule is None:
        near = difflib.get_close_matches(name, RULES, n=1, cutoff=0.7)
        hint = f"did you mean {near[0]}?" if near else "trainability explain lists them"
        raise ValueError(f"no rule is called {name!r}; {hint}")
    code = name.partition(".")[2]
    if code and f"`{code}`" not in (page := " ".join(rule.sections.values())):
        codes = ", ".join(sorted({each for each in re.findall(r"`([a-z_]+)`", page) if each in _told(rule)}))
        raise ValueError(f"{rule.name} has no code {code!r}" + (f"; its codes are {codes}" if codes else ""))
    of_code = [item for item in items(rule.sections["Fires"]) if code in _codes(item)]
    sections = {title: items(text) for title, text in {**rule.sections, **_facts(rule)}.items()}
    if of_code:
        kept = {title: [x for x in parts if not _codes(x) or code in _codes(x)] for title, parts in sections.items()}
        sections = {_of_rule(title, parts, code): parts for title, parts in kept.items() if parts and title != "Fires"}
        sections = {"Fires": of_code, **sections}
        sections["All codes"] = [f"trainability explain {rule.name}"]
    paragraphs = [[f"{name if of_code else rule.name}: {rule.summary}"]]
    paragraphs += [[f"{title}: {parts[0]}", *parts[1:]] for title, parts in sections.items()]
    return "\n\n".join("\n".join(_filled(part, first=k == 0) for k, part in enumerate(parts)) for parts in paragraphs)


def _of_rule(title: str, parts: list[str], code: str) -> str:
    """A section's title; of one that says nothing of the code alone, with what it is about."""
    is_general = title in ("Why", "Fix") and not any(code in _codes(part) for part in parts)
    return f"{title}, of the rule in general" if is_general else title


def listing() -> str:
    """List every rule with one line on what it finds, by what it looks at."""
    width = max(map(len, RULES))
    blocks = []
    for file, rules in _by_file().items():
        lines = [
            textwrap.fill(rule.summary, WIDTH, initial_indent=f"  {rule.name:<{width}}  ", subsequent_indent=" " * (width + 4))
            for rule in rules
        ]
        blocks.append("\n".join([_title(file), *lines]))
    return "\n\n".join(blocks)


def markdown() -> str:
    """Write the catalogue as docs/rules.md holds it."""
    lines = [
        "# Rules",
        "",
        "Every cause and symptom that the doctor knows, by what the rule looks at. `trainability explain RULE` prints one of",
        "them in the terminal, `trainability.explain(RULE)` returns it in Python.",
        "",
        "This page is generated from the rules' docstrings: `python -m trainability.doctor.rules > docs/rules.md`.",
        "",
    ]
    for file, rules in _by_file().items():
        lines += [f"**{_title(file)}**", "", "| rule | what is wrong | severity |", "|---|---|---|"]
        lines += [f"| [{rule.name}](#{rule.name}) | {rule.summary} | {', '.join(rule.severities)} |" for rule in rules]
        lines.append("")
    for rule in RULES.values():
        lines += [f"## {rule.name}", "", rule.summary, ""]
        for title, text in {**rule.sections, **_facts(rule)}.items():
            lead, *rest = items(text)
            lines += [f"**{title}.** {lead}", "", *(f"- {item}" for item in rest), *([""] if rest else [])]
    return "\n".join(lines)


def items(text: str) -> list[str]:
    """Split a section into what it says in general and one item for each code that it names."""
    return [part.strip() for part in _ITEM.split(text)]


def _told(rule: Rule) -> set[str]:
    """Codes that items of a rule's page begin with."""
    return set[str]().union(*(_codes(item) for text in rule.sections.values() for item in items(text)))


def _codes(item: str) -> set[str]:
    """The codes that an item begins with."""
    lead = _LEAD.match(item)
    return set(re.findall(r"`([a-z_]+)`", item[lead.end() :].partition(":")[0])) if lead else set()


def _filled(text: str, *, first: bool) -> str:
    indent = "" if first else "  - "
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent="    ", break_on_hyphens=False)


def _by_file() -> dict[ModuleType, list[Rule]]:
    return {file: [rule for rule in vars(file).values() if isinstance(rule, Rule)] for file in FILES}


def _title(file: ModuleType) -> str:
    """What the rules of a file look at: the first line of its docstring, without the full stop."""
    return (inspect.getdoc(file) or "").partition("\n")[0].rstrip(".")


def _facts(rule: Rule) -> dict[str, str]:
    """What the rule's findings mean, in addition to their text."""
    facts = {"Severity": ", ".join(rule.severities) + (f"; an error means: {rule.verdict}" if rule.verdict else "")}
    if rule.predicts:
        facts["Rank"] = "a prediction; where the rehearsed loss falls, its findings are hints"
    if told := _rate(rule):
        facts["Rates"] = told
    if rule.explains:
        facts["Suppresses"] = ", ".join(rule.explains) + "; where both fire, these are listed in this finding"
    return facts


@functools.cache
def _rates() -> dict[str, Any]:
    return json.loads(RATES.read_text()) if RATES.exists() else {"faults": 0, "sound": 0, "rules": {}}


def _rate(rule: Rule) -> str | None:
    """How often the rule was right in the fault benchmark, counting findings above a hint; None where it was not tried."""
    rates = _rates()
    own = rates["rules"].get(rule.name)
    if own is None:
        return None
    seen = (
        f"fired on {own['fired']} of {rates['faults']} programs with a mistake, named the true cause in {own['right']}, as the "
        f"first finding in {own['first']}"
        if own["fired"]
        else f"never fired on {rates['faults']} programs with a mistake, so how often it is right is not known"
    )
    return f"{seen}; fired on {own['false_alarms']} of {rates['sound']} sound ones (warnings and errors; benchmarks/faults.py)"
