"""Pieces of HTML for notebooks: no scripts, no style sheet, and no colour of their own for text and ground.

A notebook is light or dark as its reader likes it (Jupyter, VS Code, Colab), and its own style sheet aligns tables as it likes.
So text has the surrounding colour, the ground is transparent, rules are a half-transparent grey, and what a table needs stands
in each cell. A colour that means something is a dot beside words that say the same: no colour has enough contrast as text on
white and on black. Imports nothing, so that all of the doctor can use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

COLOURS = {"good": "#2e9e5b", "open": "#8a8f98", "bad": "#e0463a", "error": "#e0463a", "warning": "#d98218", "hint": "#8a8f98"}
"""Tone of a verdict, or severity of a finding -> colour of its dot, 3:1 on white as on black."""

_BLOCK = "color:inherit;background:transparent;font-size:13px;line-height:1.5;max-width:72em"
_CELL = "padding:2px 12px 2px 0;border:0;border-bottom:1px solid rgba(128,128,128,.3);background:transparent;vertical-align:top"


def block(*parts: str) -> str:
    """Join pieces of HTML to one output of a cell."""
    return f'<div style="{_BLOCK}">{"".join(parts)}</div>'


def heading(text: str, tone: str | None = None, rest: str = "") -> str:
    """Write a heading: a dot of its tone, the words in bold, and the rest of the sentence.

    Args:
        text: escaped here, as everything is.
        tone: key of `COLOURS`; None for no dot.
        rest: not in bold.
    """
    dot = "" if tone is None else f'<span style="color:{COLOURS.get(tone, COLOURS["open"])}">●</span> '
    return f'<div style="margin:6px 0 2px">{dot}<b>{escape(text)}</b> {escape(rest)}</div>'


def line(text: str, *, is_faint: bool = False) -> str:
    """Write a line of text."""
    return f'<div style="margin:2px 0{";opacity:.75" if is_faint else ""}">{escape(text)}</div>'


def folded(summary: str, *parts: str, is_open: bool = False) -> str:
    """Write what a click unfolds."""
    opened = " open" if is_open else ""
    return f'<details{opened} style="margin:4px 0"><summary>{escape(summary)}</summary>{"".join(parts)}</details>'


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, texts: Sequence[bool]) -> str:
    """Write a table.

    Args:
        columns: headings; none for a table without.
        rows: a text for every cell.
        texts: for each column whether it holds words, which stand left; numbers stand right.
    """

    def cells(tag: str, values: Sequence[str]) -> str:
        sides = ["left" if is_text else "right" for is_text in texts]
        return "".join(
            f'<{tag} style="{_CELL};text-align:{side};font-weight:{"600" if tag == "th" else "400"}">{escape(value)}</{tag}>'
            for value, side in zip(values, sides, strict=True)
        )

    head = f"<thead><tr>{cells('th', columns)}</tr></thead>" if columns else ""
    body = "".join(f'<tr style="background:transparent">{cells("td", row)}</tr>' for row in rows)
    style = "border-collapse:collapse;margin:4px 0;color:inherit;font-size:12px;font-variant-numeric:tabular-nums"
    return f'<div style="overflow-x:auto"><table style="{style}">{head}<tbody>{body}</tbody></table></div>'
