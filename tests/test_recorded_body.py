"""Two networks whose optimizers take turns: one body of the loop is recorded, run again, and asked what each wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor.diagnosis import Diagnosis
from trainability.loops.script_watch import ScriptWatch


def followed(loop: Callable[[], Any]) -> dict[str, Diagnosis]:
    """The diagnoses of a loop that is followed as a script is."""
    watch = ScriptWatch(Path("loop.py"), every=20, most_steps=None, place=None)
    watch.begin()
    try:
        loop()
    finally:
        watch.end(None)
    return watch.diagnoses


def codes(diagnoses: dict[str, Diagnosis]) -> set[str]:
    return {finding.code for found in diagnoses.values() for finding in found.findings if finding.severity != "hint"}


def ring(count: int, scale: float = 1.0) -> Tensor:
    angles = 2 * torch.pi * torch.rand(count, generator=torch.Generator().manual_seed(1))
    return scale * torch.stack([angles.cos(), angles.sin()], dim=1)


def game(fault: str = "", *, loader: bool = True, every: int = 1) -> Iterator[float]:
    """A GAN on points of a ring.

    Args:
        fault: "same aim": the generator helps the critic; "range": data beyond the tanh that the generator ends in.
        loader: batches come from a loader, or are picked out of one tensor.
        every: the generator steps at every so many batches.
    """
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2), nn.Tanh())
    critic = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    of_generator, of_critic = (torch.optim.Adam(net.parameters(), lr=1e-3) for net in (generator, critic))
    data = ring(2560, 4.0 if fault == "range" else 0.8)
    for _ in range(3):
        batches = (
            DataLoader(TensorDataset(data), batch_size=160) if loader else [(data[k : k + 160],) for k in range(0, 2560, 160)]
        )
        for place, (real,) in enumerate(batches):
            of_critic.zero_grad()
            fake = generator(torch.randn(len(real), 4)).detach()
            said, told = critic(real), critic(fake)
            loss = F.binary_cross_entropy_with_logits(said, torch.ones_like(said))
            loss = loss + F.binary_cross_entropy_with_logits(told, torch.zeros_like(told))
            loss.backward()
            of_critic.step()
            if place % every == 0:
                told = critic(generator(torch.randn(len(real), 4)))
                wanted = torch.zeros_like(told) if fault == "same aim" else torch.ones_like(told)
                of_generator.zero_grad()
                for_generator = F.binary_cross_entropy_with_logits(told, wanted)
                for_generator.backward()
                of_generator.step()
            yield loss.item()


@pytest.mark.parametrize("loader", [True, False])
@pytest.mark.parametrize(
    ("fault", "code"), [("same aim", "wrong_sign.together"), ("range", "unreachable_target.generated"), ("", None)]
)
def test_what_models_want_of_each_other_is_told_at_the_end(fault: str, code: str | None, loader: bool) -> None:
    found = codes(followed(lambda: list(game(fault, loader=loader))))
    assert found == (set() if code is None else {code})


def test_a_generator_that_steps_less_often_is_seen_as_well() -> None:
    assert codes(followed(lambda: list(game("same aim", every=3)))) == {"wrong_sign.together"}
    assert codes(followed(lambda: list(game(every=3)))) == set()


@pytest.mark.parametrize("every", [1, 3])
def test_what_the_loop_computes_is_the_same_bits(every: int) -> None:
    alone, watched, state = list(game(every=every)), list[float](), list[Tensor]()

    def loop() -> None:
        watched.extend(game(every=every))
        state.append(torch.get_rng_state())

    followed(loop)
    assert watched == alone
    assert torch.equal(state[0], torch.get_rng_state())
    assert torch._C._len_torch_function_stack() == 0
