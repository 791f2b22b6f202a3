"""Frozen tables of an embedding that hold nothing but random numbers."""

from __future__ import annotations

import math

from torch import Tensor, nn

from trainability.doctor.measure.statistics import local

_FEWEST_ROWS, _FEWEST_NUMBERS = 32, 512
_MOST_ROWS, _MOST_COLUMNS = 2048, 512  # that are read
_SURE = 5.0  # standard errors of a moment, or of a correlation of two columns
_SURE_OF_MANY = 5.5  # the same of the largest of up to 130,000 correlations
_UNIFORM_KURTOSIS = -1.2


def random_tables(model: nn.Module) -> tuple[str, ...]:
    """Find frozen embeddings whose rows are draws of one normal or uniform distribution, each number by itself.

    The columns of a table that was trained go together or differ in size, and so do its rows: frequent words have others than
    rare ones.

    Args:
        model: plain.

    Returns:
        Names of their weights; of tables of 32 rows and 512 numbers or more. A table beside a trained one of the same shape is
        left out: it may be a teacher's, or a target network's.
    """
    tables = [(name, m) for name, m in model.named_modules() if isinstance(m, (nn.Embedding, nn.EmbeddingBag))]
    trained = {m.weight.shape for _, m in tables if m.weight.requires_grad}
    frozen = [(name, m.weight) for name, m in tables if not m.weight.requires_grad and m.weight.shape not in trained]
    return tuple(f"{name}.weight" if name else "weight" for name, weight in frozen if _is_noise(local(weight.detach())))


def _is_noise(table: Tensor) -> bool:
    if table.is_meta or table.dim() != 2 or not table.is_floating_point():
        return False
    values = table[:_MOST_ROWS, :_MOST_COLUMNS].double()
    values = values[(values != 0).any(dim=1)]  # the row of padding is zero
    rows, columns = values.shape
    if rows < _FEWEST_ROWS or values.numel() < _FEWEST_NUMBERS or not bool(values.isfinite().all()):
        return False
    values = values - values.mean()
    deviation = values.std()
    if not float(deviation) > 0:
        return False
    values = values / deviation
    return _is_one_draw(values.flatten()) and _are_apart(values, rows, columns)


def _is_one_draw(numbers: Tensor) -> bool:
    """Whether skewness and kurtosis are those of a normal or a uniform distribution."""
    count = len(numbers)
    skewness, kurtosis = float((numbers**3).mean()), float((numbers**4).mean()) - 3
    if abs(skewness) > _SURE * math.sqrt(6 / count):
        return False
    limit = _SURE * math.sqrt(24 / count)
    return abs(kurtosis) <= limit or abs(kurtosis - _UNIFORM_KURTOSIS) <= limit


def _are_apart(values: Tensor, rows: int, columns: int) -> bool:
    """Whether columns have the same size and do not go together, and rows have the sizes of independent numbers."""
    squares = values**2
    each = squares.var()  # of a single square: 2 of normal numbers, 0.8 of uniform ones
    if float((squares.mean(dim=0) - 1).abs().max()) > _SURE * float((each / rows).sqrt()):
        return False
    if float((squares.mean(dim=1) - 1).square().mean() - each / columns) > _SURE * float(each) / columns * math.sqrt(8 / rows):
        return False
    together = (values.T @ values / rows).triu(diagonal=1)
    return float(together.abs().max()) <= _SURE_OF_MANY / math.sqrt(rows)
