"""A run as HTML for a notebook: name, state, verdict, findings and layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainability.doctor import markup
from trainability.doctor.notebook import findings_html
from trainability.doctor.view import finding_views, layer_tables, tone
from trainability.formats import NONE, finite, number, percent
from trainability.training.run_state import run_state
from trainability.training.run_verdict import run_verdict

if TYPE_CHECKING:
    from trainability.training.record import Run


def run_html(run: Run) -> str:
    """Write a run as HTML."""
    said = run.findings or {}
    parts = [markup.heading(_what(run), None, f"in {run.folder}"), markup.table((), _facts(run), texts=(True, True))]
    if said:
        parts.append(
            markup.heading(
                run_verdict(run), tone(str(said.get("verdict")), said.get("findings", ())), str(said.get("reason", ""))
            )
        )
        parts += findings_html(finding_views(said.get("findings", ())))
    step = run.layers[-1]["step"] if run.layers else None
    newest = [row for row in run.layers if row["step"] == step]
    parts += [
        markup.folded(table.title, table.html()) for table in layer_tables((run.evidence or {}).get("probe"), newest, step)
    ]
    return markup.block(*parts)


def _what(run: Run) -> str:
    if run.config is not None:
        return f"VGG-{run.config.model.config} on {run.config.data.name}"
    return str(run.loop.get("model", "a model"))


def _facts(run: Run) -> list[tuple[str, str]]:
    """List the run's progress and errors; values that another loop did not record are left out."""
    last = run.evaluations[-1] if run.evaluations else {}
    errors = [error for row in run.evaluations if (error := finite(row.get("val_top1_error"))) is not None]
    losses = [loss for row in run.steps if (loss := finite(row.get("loss"))) is not None]
    ended = run_state(run.folder, None) if run.result is None else str(run.result.get("status", NONE))
    epochs = f", {last['epoch']} of {run.config.optim.epochs} epochs" if run.config is not None and "epoch" in last else ""
    facts = [("state", ended), ("steps", f"{run.steps[-1]['step'] if run.steps else 0:,}{epochs}")]
    if losses:
        facts.append(("training loss", f"{number(losses[0])} at first, {number(losses[-1])} at last"))
    if finite(last.get("val_loss")) is not None:
        facts.append(("validation loss", number(last["val_loss"])))
    if errors:
        facts.append(("validation top-1 error", f"{percent(errors[-1])}, best {percent(min(errors))}"))
    return facts
