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
from trainability.doctor.measure.exits import _is_nonfinite

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


def checked(how: str, loss: Callable[[Tensor, Tensor], Tensor], seconds: float | None, lr: float = 1e-6) -> Diagnosis:
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr)

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


@pytest.mark.parametrize("how", ["loss", "step", "body"])
def test_a_guard_at_a_step_that_diverges_is_told_as_divergence(how: str) -> None:
    plain, own = checked(how, loss, 20.0, lr=10.0), checked(how, guarded, 20.0, lr=10.0)
    assert own.verdict == plain.verdict == "unstable"


def test_a_program_that_ends_for_another_reason_has_not_diverged() -> None:
    """`best` begins at infinity, as in early stopping."""
    calls = 0

    def stopped(output: Tensor, target: Tensor) -> Tensor:
        nonlocal calls
        calls, best = calls + 1, math.inf
        if calls > 12:
            sys.exit(int(best < 0))
        return loss(output, target)

    with pytest.raises(ValueError, match="ends the program, with exit code 0"):
        checked("step", stopped, 20.0)


@pytest.mark.parametrize("name", ["prev_loss", "last", "oldCost", "loss_limit", "best"])
def test_a_variable_that_begins_at_infinity_is_no_divergence(name: str) -> None:
    assert not _is_nonfinite(name, math.inf)
    assert not _is_nonfinite(name, 1.0)
    assert _is_nonfinite(name, math.nan)
    assert _is_nonfinite(name, torch.tensor(math.inf))


@pytest.mark.parametrize("name", ["loss", "total", "x", "cost"])
def test_a_number_that_is_infinite_now_is_one(name: str) -> None:
    assert _is_nonfinite(name, math.inf)
