"""Columns of a table that hold one number."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from trainability import check
from trainability.doctor.measure.same_columns import SameColumns


def rows(n: int = 300) -> Tensor:
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(0))


def found(x: Tensor, batch: int = 64) -> tuple[tuple[int, float], ...]:
    columns = SameColumns()
    for part in x.split(batch):
        columns.add(part)
    return columns.found()


def test_columns_of_one_number_are_found_over_all_batches() -> None:
    x = rows()
    x[:, 1], x[:, 4] = 0.0, 2.5
    assert found(x) == ((1, 0.0), (4, 2.5))
    x[-1, 4] = 2.0
    assert found(x) == ((1, 0.0),)
    assert found(x[:100]) == ()
    assert found(x.long()) == ()


def test_the_border_of_images_is_background() -> None:
    x = torch.rand(300, 64)
    x[:, :20] = -1.0
    assert found(x) == ()


@pytest.mark.parametrize(("columns", "severity"), [((), None), ((1,), None), ((1, 3), "hint"), ((0, 1, 3), "warning")])
def test_check_says_so(columns: tuple[int, ...], severity: str | None) -> None:
    x = rows(640)
    y = x[:, :1] * 2 + 0.01 * x[:, 5:]
    x[:, list(columns)] = 1.0  # of which one is a bias; two do not matter to what is asked, three hold the answer
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    loader = DataLoader(TensorDataset(x, y), 32, shuffle=True)
    report = check(model, loader, nn.MSELoss(), optimizer)
    assert {f.code: f.severity for f in report.findings}.get("constant_input.columns") == severity
