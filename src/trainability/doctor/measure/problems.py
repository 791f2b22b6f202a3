"""What a monitor could not see: each line once, in the evidence, and as a warning where somebody should know of it now."""

from __future__ import annotations

import contextlib
import warnings


class Problems:
    """Collects lines.

    Attributes:
        lines: in the order of their first occurrence.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        """What cannot be watched here: named in the evidence, and no reason to warn."""
        if line not in self.lines:
            self.lines.append(line)

    def warn(self, line: str) -> None:
        """The first time also a warning, of the line that called what called this."""
        if line not in self.lines:
            self.lines.append(line)
            with contextlib.suppress(Warning):  # where warnings are errors, the loop goes on all the same
                warnings.warn(line, RuntimeWarning, stacklevel=4)
