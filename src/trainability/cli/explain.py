"""`trainability explain`: a rule's page in the terminal, or the list of rules."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg


def explain(rule: Annotated[Positional[str | None], arg(metavar="[RULE]")] = None) -> int:
    """Explain a rule: when it fires, what fools it, how to fix the cause. Also why, and its source.

    Without a name: list all rules, with one line for each.

    Exit code: 0, or 2 for an unknown name.

    Args:
        rule: name of the rule, as in a finding: gain_budget_low; or one code of it: gain_budget_low.input.
    """
    from trainability.doctor.rules import catalogue

    print(catalogue.listing() if rule is None else catalogue.explain(rule))
    return 0
