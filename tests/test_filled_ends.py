"""Targets of different lengths that are filled up, beside losses that leave the filler out and series that end so."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from rule_examples import fact
from torch import Tensor, nn

from trainability.doctor import diagnose
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.filled_ends import filled_ends
from trainability.doctor.readings import Readings

ROWS, LENGTH = 64, 24
Batch = dict[str, Tensor]


def curves(*, until: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(ROWS, 3, generator=rng)
    time = torch.arange(LENGTH)
    y = 1.5 + x[:, :1] - 0.03 * x[:, 1:2] * time + 0.01 * torch.randn(ROWS, LENGTH, generator=rng)
    lengths = torch.randint(until, LENGTH + 1, (ROWS,), generator=rng)
    return x, y, lengths, (time[None] < lengths[:, None]).float()


def recorded(told_by: str = "mask", fill: float = 0.0) -> Batch:
    """Curves up to where each was recorded."""
    x, y, lengths, mask = curves()
    told = {"mask": mask, "padding": mask == 0, "lengths": lengths}
    return {"x": x, "y": torch.where(mask == 1, y, fill), "told": told[told_by]}


def of_one_length() -> Batch:
    x, y, _, mask = curves(until=LENGTH)
    return {"x": x, "y": y, "told": mask}


def rain() -> Batch:
    """Amounts of which many are zero, at ends and elsewhere, without a mask."""
    x, y, _, mask = curves()
    dry = torch.rand(ROWS, LENGTH, generator=torch.Generator().manual_seed(1)) < 0.4
    return {"x": x, "y": torch.where(dry, 0.0, y * mask)}


def masked_for_a_while() -> Batch:
    """A mask of something else: the values go on behind it."""
    x, y, _, mask = curves()
    return {"x": x, "y": y, "told": mask}


def melted() -> Batch:
    """Masses that come down to zero by themselves, and when they did."""
    x, _, lengths, mask = curves()
    return {"x": x, "y": (1 - torch.arange(LENGTH) / lengths[:, None]).clamp(min=0), "told": mask}


def switched(told: float = 1.0) -> Batch:
    """A pump that runs for a while, as one of the inputs' channels says; behind it nothing flows."""
    batch = recorded()
    given = torch.randn(ROWS, LENGTH, 3, generator=torch.Generator().manual_seed(1))
    given[..., 0] = torch.where(torch.rand(ROWS, 1, generator=torch.Generator().manual_seed(2)) < told, batch["told"], 1.0)
    return {**batch, "x": given}


def foretold(noise: float = 1.0) -> Batch:
    """Offers that last as long as an input says, but for some noise; nothing is sold behind them."""
    batch = recorded()
    lengths = batch["told"].sum(dim=1)
    rng = torch.Generator().manual_seed(1)
    batch["x"][:, 1] = (lengths + 2 * noise * torch.randn(ROWS, generator=rng)) / LENGTH
    return batch


class Curve(nn.Module):
    def __init__(self, *, reads: str = "x") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.LazyLinear(16), nn.ReLU(), nn.Linear(16, LENGTH))
        self.reads = reads

    def forward(self, batch: Batch) -> Tensor:
        return self.net(batch[self.reads].float().flatten(1))


def model_of(batch: Batch, reads: str = "x") -> nn.Module:
    model = Curve(reads=reads)
    model(batch)
    return model


def over_all(model: nn.Module, batch: Batch) -> Tensor:
    return (model(batch) - batch["y"]).square().mean()


def over_recorded(model: nn.Module, batch: Batch) -> Tensor:
    return ((model(batch) - batch["y"]).square() * batch["told"]).sum() / batch["told"].sum()


def severities(batch: Batch, model: nn.Module, loss: Callable[[nn.Module, Batch], Tensor] = over_all) -> list[str]:
    ends = filled_ends(model, batch, loss)
    found = diagnose(fact(readings=Readings(filled_ends=ends))).findings
    return [f.severity for f in found if f.code == "class_imbalance.padding"]


@pytest.mark.parametrize("told_by", ["mask", "padding", "lengths"])
@pytest.mark.parametrize("fill", [0.0, -1.0])
def test_a_filler_that_the_loss_counts(told_by: str, fill: float) -> None:
    batch = recorded(told_by, fill)
    ends = filled_ends(model_of(batch), batch, over_all)
    assert ends is not None
    assert (ends.target, ends.told_by, ends.value) == ("['y']", "['told']", fill)
    assert ends.share == pytest.approx(float((batch["y"] == fill).float().mean()), abs=1e-6)
    assert severities(batch, model_of(batch)) == ["warning"]


def test_a_look_before_the_run_tells_it() -> None:
    batch = recorded()
    assert facts_of(model_of(batch), batch, training_step=over_all).readings.filled_ends is not None


def test_a_loss_that_leaves_it_out() -> None:
    batch = recorded()
    assert severities(batch, model_of(batch), over_recorded) == []


@pytest.mark.parametrize("data", [of_one_length, rain, masked_for_a_while])
def test_no_filler(data: Callable[[], Batch]) -> None:
    assert severities(data(), model_of(data())) == []


READ = [(melted, "x"), (recorded, "told"), (recorded, "y"), (switched, "x"), (foretold, "x")]


@pytest.mark.parametrize(("data", "reads"), READ)
def test_it_is_a_hint_where_series_end_so_or_the_model_is_shown_the_ends(data: Callable[[], Batch], reads: str) -> None:
    assert severities(data(), model_of(data(), reads)) == ["hint"]


@pytest.mark.parametrize("batch", [switched(told=0.0), foretold(noise=50.0)])
def test_inputs_that_tell_no_ends(batch: Batch) -> None:
    assert severities(batch, model_of(batch)) == ["warning"]


def test_a_sequence_that_the_model_reads_is_no_target() -> None:
    batch = recorded()
    other = {**batch, "label": batch["x"][:, :1]}

    def of_label(model: nn.Module, batch: Batch) -> Tensor:
        return (model(batch)[:, :1] - batch["label"]).square().mean()

    assert filled_ends(model_of(other, "y"), other, of_label) is None
