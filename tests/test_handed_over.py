"""Bodies that hold networks and optimizers by themselves, run on copies of these."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import trainability
from trainability.doctor.measure.handed_over import handed_over
from trainability.doctor.measure.opponents import same_aim
from trainability.doctor.measure.uses import reaches

LOADER = [(torch.randn(32, 2, generator=torch.Generator().manual_seed(k)),) for k in range(8)]
CRITIC_OPTIMIZER: Any = None  # a variable of the module, as in a script


class Gan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
        self.critic = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))


def parts(sign: float, kind: str) -> tuple[Gan, torch.optim.Optimizer, Callable[..., Any]]:
    """A model, its generator's optimizer, and a body that holds the critic's."""
    global CRITIC_OPTIMIZER
    torch.manual_seed(0)
    gan = Gan()
    generator, critic = gan.generator, gan.critic
    own = torch.optim.SGD(critic.parameters(), 0.01)
    optimizer = torch.optim.SGD(generator.parameters(), 0.01)
    CRITIC_OPTIMIZER = own
    count = [0]

    def train_critic(made: Tensor, real: Tensor) -> None:
        own.zero_grad()
        (critic(made.detach()).mean() - critic(real).mean()).backward()
        own.step()

    def by_closure(model: Any, optimizer: Any, batch: Any) -> Tensor:
        count[0] += 1
        train_critic(generator(torch.randn(32, 3)), batch[0])
        optimizer.zero_grad()
        loss = sign * critic(generator(torch.randn(32, 3))).mean()
        loss.backward()
        optimizer.step()
        return loss

    def by_globals(model: Any, optimizer: Any, batch: Any) -> Tensor:
        CRITIC_OPTIMIZER.zero_grad()
        (model.critic(model.generator(torch.randn(32, 3)).detach()).mean() - model.critic(batch[0]).mean()).backward()
        CRITIC_OPTIMIZER.step()
        optimizer.zero_grad()
        loss = sign * model.critic(model.generator(torch.randn(32, 3))).mean()
        loss.backward()
        optimizer.step()
        return loss

    class Trainer:
        """Holds the critic's optimizer, counts its calls, and calls a method of its own."""

        def __init__(self) -> None:
            self.critic_optimizer, self.count = own, 0
            self.kept = self.__call__  # a method among the attributes
            self.buffer = [(0.0,)] * 100

        def judge(self, model: Any, batch: Any) -> None:
            self.critic_optimizer.zero_grad()
            (model.critic(model.generator(torch.randn(32, 3)).detach()).mean() - model.critic(batch[0]).mean()).backward()
            self.critic_optimizer.step()

        def __call__(self, model: Any, optimizer: Any, batch: Any) -> Tensor:
            self.count += 1
            self.judge(model, batch)
            optimizer.zero_grad()
            loss = sign * model.critic(model.generator(torch.randn(32, 3))).mean()
            loss.backward()
            optimizer.step()
            return loss

        def step(self, model: Any, optimizer: Any, batch: Any) -> Tensor:
            return self(model, optimizer, batch)

    trainer = Trainer()
    bodies = {
        "closure": by_closure,
        "globals": by_globals,
        "object": trainer,
        "method": trainer.step,
        "kept method": trainer.kept,
        "object in a closure": lambda model, optimizer, batch: trainer(model, optimizer, batch),
    }
    return gan, optimizer, bodies[kind]


KINDS = ["closure", "globals", "object", "method", "kept method", "object in a closure"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("sign", "found"), [(1.0, (1, 0)), (-1.0, None)])
def test_a_critic_s_optimizer_beside_the_body_is_handed_over(kind: str, sign: float, found: Any) -> None:
    gan, optimizer, body = parts(sign, kind)
    before = copy.deepcopy(gan.state_dict())
    assert reaches(body, gan, optimizer)
    handed = handed_over(gan, optimizer, body)
    assert handed is not None
    step, optimizers = handed
    assert len(optimizers) == 2
    assert optimizers[0] is optimizer
    assert not reaches(step, gan, optimizers)
    assert same_aim(gan, optimizers, step, LOADER) == found
    assert all(torch.equal(before[name], value) for name, value in gan.state_dict().items())
    assert not any(optimizer.state for optimizer in optimizers)


@pytest.mark.parametrize("kind", KINDS)
def test_on_the_originals_it_does_what_the_body_does(kind: str) -> None:
    results = []
    for hands_over in (False, True):
        gan, optimizer, body = parts(-1.0, kind)
        step, optimizers = (handed_over(gan, optimizer, body) or (None, None)) if hands_over else (body, optimizer)
        assert step is not None
        torch.manual_seed(1)
        for batch in LOADER:
            step(gan, optimizers, batch)
        results.append(gan.state_dict())
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())


def test_what_a_body_is_given_already_needs_no_handing_over() -> None:
    gan, optimizer, _ = parts(1.0, "closure")
    target = nn.Linear(2, 1)

    def body(model: Any, optimizer: Any, batch: Any) -> Tensor:
        optimizer.zero_grad()
        loss = (model.critic(batch[0]) - target(batch[0])).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    class Body:
        def __call__(self, model: Any, optimizer: Any, batch: Any) -> Tensor:
            return body(model, optimizer, batch)

    assert handed_over(gan, optimizer, body) is None
    assert handed_over(gan, optimizer, Body()) is None


def test_a_dict_of_models_keeps_its_structure() -> None:
    gan, optimizer, _ = parts(1.0, "closure")
    models = {"maker": gan.generator, "judge": gan.critic}
    judge, given = gan.critic, {"maker": optimizer}
    own = torch.optim.SGD(judge.parameters(), 0.01)

    def body(model: Any, optimizer: Any, batch: Any) -> Tensor:
        own.zero_grad()
        optimizer["maker"].zero_grad()
        loss = judge(model["maker"](torch.randn(32, 3))).mean()
        loss.backward()
        own.step()
        optimizer["maker"].step()
        return loss

    handed = handed_over(models, given, body)
    assert handed is not None
    step, optimizers = handed
    assert optimizers[0] is given
    before = judge[0].weight.detach().clone()
    step(models, optimizers, LOADER[0])
    assert not torch.equal(before, judge[0].weight)


@pytest.mark.parametrize("kind", KINDS)
def test_a_check_steps_what_a_body_holds_and_puts_it_back(kind: str) -> None:
    gan, optimizer, body = parts(-1.0, kind)
    before = copy.deepcopy(gan.state_dict())
    found = trainability.check(gan, LOADER, step=body, optimizer=optimizer).evidence.rehearsal
    assert found is not None
    assert "critic.0.weight" not in found.unmoved
    assert all(torch.equal(before[name], value) for name, value in gan.state_dict().items())
    assert not CRITIC_OPTIMIZER.state
    assert not optimizer.state


def test_an_object_that_cannot_be_copied_is_left_alone() -> None:
    gan, optimizer, body = parts(-1.0, "object")

    class Delegates:
        def __init__(self) -> None:
            self.own = torch.optim.SGD(gan.critic.parameters(), 0.01)

        def __getstate__(self) -> Any:
            raise TypeError("not to be copied")

        def __call__(self, model: Any, optimizer: Any, batch: Any) -> Tensor:
            return body(model, optimizer, batch)

    assert handed_over(gan, optimizer, Delegates()) is None
    assert all(p.grad is None for p in gan.parameters())
