"""A generator that is told one class at every step, beside a judge that is told those of the batch."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.measure.conditions import drawn_beside, one_class_asked
from trainability.doctor.measure.whole_step import Parts

ROWS, KINDS = torch.randn(32, 4, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 3


class Told(nn.Module):
    """Rows and a class of each, by name or in order, to rows."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.kinds, self.body = nn.Embedding(3, 4), nn.Linear(8, out)

    def forward(self, x: Tensor, kind: Tensor) -> Tensor:
        return self.body(torch.cat([x, self.kinds(kind)], dim=1))


def play(model: Any, batch: Any, *, how: str) -> Tensor:
    """Both losses of a game."""
    x, kind = batch
    wish = {"constant": torch.full_like(kind, 2), "drawn": torch.randint(3, (len(x),))}.get(how, kind)
    if how == "drawn for a step":
        wish = torch.full_like(kind, int(torch.randint(3, ())))
    made = model.maker(torch.randn(len(x), 4), kind=wish)
    if how == "another":  # asked for one class on the one hand, and for all on the other
        made = made + model.maker(torch.randn(len(x), 4), kind=torch.zeros_like(kind))
    true, forged = model.judge(x, kind), model.judge(made, wish)
    return F.softplus(-true).mean() + F.softplus(forged).mean()


@pytest.mark.parametrize("how", ["constant", "drawn", "drawn for a step", "the batch's", "another"])
def test_a_generator_that_is_told_one_class_alone_is_named(how: str) -> None:
    torch.manual_seed(0)
    model = Parts({"maker": Told(4), "judge": Told(1)})
    found = one_class_asked(model, (ROWS, KINDS), lambda m, batch: play(m, batch, how=how))
    assert found == (("maker", 2) if how == "constant" else None)


def test_a_batch_of_one_class_is_left_alone() -> None:
    torch.manual_seed(0)
    model = Parts({"maker": Told(4), "judge": Told(1)})
    batch = (ROWS, torch.full_like(KINDS, 2))
    assert one_class_asked(model, batch, lambda m, b: play(m, b, how="constant")) is None


def show(model: Any, batch: Any, *, beside: str, scale: float = 1.0) -> Tensor:
    """Both losses of a game in which the judge is shown real rows with some class."""
    x, kind = batch
    wish = torch.randint(3, (len(x),))
    other, none = torch.randint(3, (len(x),)), torch.zeros_like(kind)
    told = {"the batch's": kind, "drawn": wish, "drawn again": other, "none": none}[beside]
    made = model.maker(torch.randn(len(x), 4), kind=wish)
    return F.softplus(-model.judge(scale * x, told)).mean() + F.softplus(model.judge(made, wish)).mean()


@pytest.mark.parametrize("beside", ["the batch's", "drawn", "drawn again", "none"])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_real_examples_beside_drawn_classes_are_named(beside: str, scale: float) -> None:
    torch.manual_seed(0)
    model = Parts({"maker": Told(4), "judge": Told(1)})
    found = drawn_beside(model, (ROWS, KINDS), lambda m, batch: show(m, batch, beside=beside, scale=scale))
    assert found == ("judge" if beside.startswith("drawn") else None)
