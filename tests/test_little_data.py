"""Data of which little is left: targets that are one number for all, and one example that occurs again and again."""

from typing import Any

import pytest
import torch
from small_programs import batches
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check
from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.audits import audit_data


def said(model: nn.Module, data: tuple[Tensor, ...], loss_fn: Any) -> dict[str, str]:
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    found = check(model, batches(*data), loss_fn=loss_fn, optimizer=optimizer, rehearse_seconds=None).findings
    return {f.code: f.severity for f in found}


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "loss_fn", [F.mse_loss, lambda o, y: F.mse_loss(o, y, reduction="sum"), F.smooth_l1_loss, lambda o, y: (o - y).abs().mean()]
)
@pytest.mark.parametrize("lost", [True, False])
def test_heat_maps_that_were_cast_to_whole_numbers(loss_fn: Any, lost: bool) -> None:
    maps = drawn(96, 1, 6, 6).sigmoid()
    target = maps.to(torch.uint8).float() if lost else maps
    found = said(nn.Conv2d(1, 1, 3, padding=1), (drawn(96, 1, 6, 6), target), loss_fn)
    assert found.get("class_imbalance.one_class") == ("warning" if lost else None)


def test_a_column_that_holds_one_price() -> None:
    assert "class_imbalance.one_class" in said(nn.Linear(4, 1), (drawn(128, 4), torch.full((128, 1), 3.5)), F.mse_loss)
    assert "class_imbalance.one_class" not in said(nn.Linear(4, 1), (drawn(32, 4), torch.full((32, 1), 3.5)), F.mse_loss)


def test_targets_that_the_loss_does_not_read_may_be_one_number() -> None:
    def residual(output: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(output, output.detach().cos())

    assert "class_imbalance.one_class" not in said(nn.Linear(4, 1), (drawn(128, 4), torch.zeros(128, 1)), residual)


def test_a_residual_of_the_output_is_held_against_zeros_on_purpose() -> None:
    root, x, zeros = nn.Linear(4, 1), drawn(128, 4), torch.zeros(128, 1)

    def step(model: nn.Module, batch: Any) -> Tensor:
        return F.mse_loss(model(batch[0]) ** 2 - batch[0][:, :1].abs(), batch[1])

    optimizer = torch.optim.Adam(root.parameters(), 1e-3)
    found = check(root, batches(x, zeros), training_step=step, optimizer=optimizer, rehearse_seconds=None).findings
    assert "class_imbalance.one_class" not in [f.code for f in found]


def repeated(share: float, *, empty: bool = False, conflicting: bool = False) -> str | None:
    n = 400
    x, y = drawn(n, 6).round(), torch.randint(3, (n,), generator=torch.Generator().manual_seed(1))
    same = torch.arange(n) < share * n
    x[same] = 0.0 if empty else torch.tensor([1.0, 0.0, 2.0, 0.0, 0.0, 1.0])
    if not conflicting:
        y[same] = 1
    found = diagnose(Evidence(data=audit_data(batches(x, y)))).findings
    return next((f.severity for f in found if f.code == "repeated_batch.example"), None)


@pytest.mark.parametrize(("share", "severity"), [(0.97, "warning"), (0.86, "warning"), (0.6, "hint"), (0.4, None)])
def test_one_example_that_occurs_again_and_again(share: float, severity: str | None) -> None:
    assert repeated(share) == severity


def test_empty_rows_and_rows_of_other_labels_are_no_copies() -> None:
    assert repeated(0.97, empty=True) is None
    assert repeated(0.97, conflicting=True) is None


def test_copies_of_an_image_with_a_mask() -> None:
    x, mask = drawn(256, 1, 4, 4), (drawn(256, 1, 4, 4) > 0).float()
    x[:230], mask[:230] = x[0], mask[0]
    assert audit_data(batches(x, mask)).train.most_copied == pytest.approx(230 / 256)


class Words(nn.Module):
    """Words and their places."""

    def __init__(self, at: Any, rows: int = 12) -> None:
        super().__init__()
        self.words, self.places, self.at = nn.Embedding(20, 8), nn.Embedding(rows, 8), at
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out((self.words(x) * self.places(self.at(x))).mean(dim=1))


@pytest.mark.parametrize(
    ("at", "found"),
    [
        (lambda x: torch.zeros(x.shape[1], dtype=torch.long), True),
        (lambda x: torch.full_like(x, 3), True),
        (lambda x: torch.arange(x.shape[1]), False),
        (lambda x: torch.full((len(x), 1), 3), False),  # a stage for each example
        (lambda x: torch.full((1,), 3), False),
    ],
)
def test_one_place_for_all_of_a_sequence(at: Any, found: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    data = torch.randint(20, (64, 12), generator=rng), torch.randint(3, (64,), generator=rng)
    assert ("constant_input" in said(Words(at), data, F.cross_entropy)) == found
    assert "constant_input" not in said(Words(at, 8), (data[0][:, :8], data[1]), F.cross_entropy)  # a table of kinds


@pytest.mark.parametrize("kind", ["words", "images"])
def test_examples_that_are_their_own_targets_are_not_all_the_same(kind: str) -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randint(50, (256, 8), generator=g) if kind == "words" else torch.rand(256, 1, 8, 8, generator=g)
    data = audit_data([(x[k : k + 32], x[k : k + 32]) for k in range(0, 256, 32)])
    assert data.train.most_copied == pytest.approx(1 / 256)
    assert data.train.repeated_sequences == ((0, 8, 32) if kind == "words" else (0, 0, 0))
    assert not [f for f in diagnose(Evidence(data=data)).findings if f.rule in ("repeated_batch", "label_conflict")]
