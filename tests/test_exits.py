"""Programs that end themselves at a loss that is not finite, as many references do."""

import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainability import check
from trainability.doctor import Diagnosis

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, :1] > 0).float().repeat(1, 2)
BATCHES = [(X, Y)] * 40


def loss(output: Tensor, target: Tensor) -> Tensor:
    """Of counts, steep enough to overflow a few units of output away."""
    return ((8 * output).exp() - 8 * target * output).mean()


def guarded(output: Tensor, target: Tensor) -> Tensor:
    value = loss(output, target)
    if not math.isfinite(value.item()):
        sys.exit(1)
    return value


def checked(how: str, loss: Callable[[Tensor, Tensor], Tensor], seconds: float | None) -> Diagnosis:
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), 1e-6)

    def body(model: Any, optimizer: Any, batch: Any) -> Tensor:
        optimizer.zero_grad()
        value = loss(model(batch[0]), batch[1])
        value.backward()
        optimizer.step()
        return value

    words: dict[str, dict[str, Any]] = {
        "loss": {"loss_fn": loss},
        "step": {"training_step": lambda m, b: loss(m(b[0]), b[1])},
        "body": {"step": body},
    }
    return check(model, BATCHES, optimizer=optimizer, rehearse_seconds=seconds, **words[how])


@pytest.mark.parametrize("seconds", [None, 20.0])
@pytest.mark.parametrize("how", ["loss", "step", "body"])
def test_a_guard_that_ends_the_program_ends_no_check(how: str, seconds: float | None) -> None:
    plain, own = checked(how, loss, seconds), checked(how, guarded, seconds)
    assert own.verdict == plain.verdict
    if seconds is not None:
        assert plain.evidence.rehearsal is not None
        assert own.evidence.rehearsal is not None
        multiples = [[step.multiple for _, step in d.evidence.rehearsal.critical] for d in (plain, own)]  # type: ignore[union-attr]
        assert multiples[0] == multiples[1] != []
