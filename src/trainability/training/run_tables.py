"""The rows of a run as a pandas table, or as CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainability.config import nearest
from trainability.extras import require

if TYPE_CHECKING:
    import pandas as pd

    from trainability.training.record import Run

TABLES = {"steps": "steps", "layers": "layers", "evaluations": "evaluations", "findings": "finding_events"}
"""Name of a table -> field of `Run` with its rows."""


def rows_of(run: Run, table: str) -> tuple[list[str], list[list[Any]]]:
    """Lay out the rows of a table, without fields that are not single values: histograms, the measurements of a finding.

    Returns:
        Names of the columns in the order in which they first occur, and a value per column for every row; None if a row
        has no such field.

    Raises:
        ValueError: there is no such table.
    """
    if table not in TABLES:
        raise ValueError(f"there is no table {table!r}{nearest(table, list(TABLES))}")
    rows: list[Mapping[str, Any]] = getattr(run, TABLES[table])
    nested = {name for row in rows for name, value in row.items() if isinstance(value, (dict, list))}
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in nested]
    return columns, [[row.get(name) for name in columns] for row in rows]


def to_pandas(run: Run, table: str) -> pd.DataFrame:
    """Make a data frame; see `Run.to_pandas`."""
    require("notebook")
    import pandas as pd

    columns, rows = rows_of(run, table)
    return pd.DataFrame(rows, columns=pd.Index(columns))


def to_csv(run: Run, path: Path | str, table: str) -> Path:
    """Write a CSV file; see `Run.to_csv`."""
    columns, rows = rows_of(run, table)
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return Path(path)
