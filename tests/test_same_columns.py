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


def tagged(kind: str) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Batches of a query, a series beside it, and whether the query is above the series' mean, 20 of 32 examples."""
    rng = torch.Generator().manual_seed(0)
    made = []
    for _ in range(20):
        query, series = torch.randn(32, 1, generator=rng), torch.randn(32, 6, 3, generator=rng)
        label = (query[:, 0] > series[:, :, 1].mean(1)).long()
        if kind == "one row":
            series = series[:1].expand(32, -1, -1).clone()
        if kind == "lost channel":
            series[:, :, 1] = 0.0
        if kind == "letters":  # of an alphabet of three, of which the texts have two
            series = nn.functional.one_hot(torch.randint(0, 2, (32, 6), generator=rng), 3).float()
        made.append((query, series, label))
    return made


class Beside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(19, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, query: Tensor, series: Tensor) -> Tensor:
        return self.net(torch.cat([query, series.flatten(1)], dim=1))


@pytest.mark.parametrize(
    ("kind", "code"),
    [("one row", "constant_input.batch"), ("lost channel", "constant_input.columns"), ("letters", None), ("sound", None)],
)
def test_a_tensor_that_says_nothing_in_a_batch(kind: str, code: str | None) -> None:
    torch.manual_seed(0)
    model = Beside()

    def training_step(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(*batch[:2]), batch[2])

    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    report = check(model, tagged(kind), training_step=training_step, optimizer=optimizer)
    found = {f.code for f in report.findings if f.rule == "constant_input"}
    assert found == ({code} if code else set())
