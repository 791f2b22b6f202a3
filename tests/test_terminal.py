"""What a person sees: bars in a terminal, a line per epoch elsewhere."""

import io
from pathlib import Path

from conftest import config_of, train
from rich.console import Console

from trainability.terminal.display import TerminalDisplay, percent, result_table


def shown(tmp_path: Path, *, terminal: bool, **fields: object) -> str:
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=terminal, color_system=None)
    display = TerminalDisplay(console)
    trained = train(tmp_path / "run", config_of(**fields), display=display)
    display.close()
    console.print(result_table(display.begin, trained.outcome, tmp_path / "run" / "report.html"))
    return out.getvalue()


def test_without_a_terminal_there_is_one_line_per_epoch(tmp_path: Path) -> None:
    text = shown(tmp_path, terminal=False)
    assert [line.split("  ")[0] for line in text.splitlines() if line.startswith("epoch")] == ["epoch 1/2", "epoch 2/2"]
    assert "\x1b" not in text
    assert "━━━ " not in text
    for words in ("VGG-A", "63,829 parameters", "1,438 training and 359 validation", "gain budget", "of 359 validation images"):
        assert words in text


def test_in_a_terminal_there_are_bars(tmp_path: Path) -> None:
    text = shown(tmp_path, terminal=True)
    for words in ("epoch 1/2", "run", "images/s", "loss", "12/12"):
        assert words in text


def test_errors_are_percent_and_undefined_is_said() -> None:
    assert percent(0.01234) == "1.23 %"
    assert percent(None) == "not defined"
