"""Bodies that train one part at each batch and another at every third: what no loss of the first batch reaches has its turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainability import check
from trainability.doctor.finding import Finding

RULE = "unreached_parameter"


def mlp(inputs: int, outputs: int, layers: int = 7) -> nn.Sequential:
    hidden = [part for _ in range(layers) for part in (nn.Linear(8, 8), nn.ReLU())]
    return nn.Sequential(nn.Linear(inputs, 8), nn.ReLU(), *hidden, nn.Linear(8, outputs))


def as_modules() -> tuple[Any, Any]:
    nets = nn.ModuleDict({"G": mlp(4, 2), "D": mlp(2, 1)})
    return nets, [torch.optim.RMSprop(nets[name].parameters(), lr=1e-3) for name in ("G", "D")]


def as_dict() -> tuple[Any, Any]:
    nets = {"G": mlp(4, 2), "D": mlp(2, 1)}
    return nets, [torch.optim.RMSprop(nets[name].parameters(), lr=1e-3) for name in ("G", "D")]


def as_one() -> tuple[Any, Any]:
    nets = nn.ModuleDict({"G": mlp(4, 2), "D": mlp(2, 1)})
    return nets, torch.optim.SGD(nets.parameters(), lr=1e-3)


def found_of(build: Callable[[], tuple[Any, Any]], *, cut: bool = False, every: int = 3) -> list[Finding]:
    """A critic, and a generator whose turn is every few batches; `cut` off from its own loss."""
    torch.manual_seed(0)
    nets, optimizer = build()
    count = {"batches": 0}

    def step(nets: Any, optimizer: Any, batch: Any) -> Tensor:
        of_generator, of_critic = optimizer if isinstance(optimizer, list) else (optimizer, optimizer)
        generator, critic = nets["G"], nets["D"]
        of_critic.zero_grad()
        made = generator(torch.randn(len(batch[0]), 4))
        loss = critic(made.detach()).mean() - critic(batch[0]).mean()
        loss.backward()
        of_critic.step()
        count["batches"] += 1
        if count["batches"] % every == 0:
            of_generator.zero_grad()
            made = generator(torch.randn(len(batch[0]), 4))
            (-critic(made.detach() if cut else made).mean()).backward()
            of_generator.step()
        return loss.detach()

    batches = [(torch.randn(16, 2),) for _ in range(8)]
    found = check(model=nets, optimizer=optimizer, train_loader=batches, step=step, rehearse_seconds=20).findings
    return [finding for finding in found if finding.severity != "hint"]


@pytest.mark.parametrize("build", [as_modules, as_dict, as_one])
def test_a_part_whose_turn_comes_later_is_not_cut_off(build: Callable[[], tuple[Any, Any]]) -> None:
    assert RULE not in [finding.rule for finding in found_of(build)]


@pytest.mark.parametrize("build", [as_modules, as_dict, as_one])
def test_a_part_that_no_loss_reaches_at_any_step_is(build: Callable[[], tuple[Any, Any]]) -> None:
    found = found_of(build, cut=True)
    assert (found[0].rule, found[0].layers[0][:2]) == (RULE, "G.")
