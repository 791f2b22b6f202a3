"""How proposed plans look in a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from trainability.formats import NONE, number, signed
from trainability.prescribe.search import Proposal


def print_plans(console: Console, found: list[Proposal], *, flags: str | None) -> None:
    """Print proposals as a table, what its columns mean, and what to paste.

    Args:
        console: of the output.
        found: the best first.
        flags: of `train`, for the best; `None` for the user's own model, for which code is printed.
    """
    is_tried = any(proposal.num_steps for proposal in found)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("initialisation", overflow="fold")
    headings = ("budget", "rate", "clip", "critical step", *(("loss", "after", "steps") if is_tried else ()))
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for proposal in found:
        row = [str(proposal.plan), signed(proposal.budget), number(proposal.lr), number(proposal.clip)]
        row.append(number(proposal.multiple, ".3g"))
        if is_tried:
            row += [number(proposal.loss_before), number(proposal.loss_after), str(proposal.num_steps or NONE)]
        table.add_row(*row)
    console.print(table)
    lines = ["budget: log10 of what the layers and the input make of the signal's mean square; 0 keeps it"]
    lines.append(
        "critical step: how many times as long a single one of the first updates could be before the loss on its batch rises;"
        " below 1 they are too long, above 1 it is a limit for one update, not for a run"
    )
    if is_tried:
        lines.append(
            "loss, after: on a fixed batch, as initialised and after that many steps on a copy; within classes of"
            " 5 % the order is that of the closed form"
        )
    elif len(found) > 1 and found[0].multiple is not None and found[1].multiple is None:
        lines.append("only the first is measured; --seconds 30 tries them all")
    for line in lines:
        console.print(line, highlight=False)
    best = found[0]
    told = [f"a learning rate of {best.lr:g}"] if best.lr is not None else []
    if best.clip is not None:
        told.append(f"clip_grad_norm_(model.parameters(), {best.clip:g})")
    rate = f"  # and {', and '.join(told)}" if told else ""
    code = f'trainability.init_(model, "{best.plan}", seed=0){rate}' if flags is None else f"to paste: {flags}"
    console.print(f"\n{code}", highlight=False, soft_wrap=True)
