"""Models that play against each other, of which one optimizer moves both."""

from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
import torch
from small_programs import batches, digits
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check
from trainability.doctor.measure.opponents import moved_both_ways, moved_by_critic

Loss = Callable[[Tensor], Tensor]


def against(value: float) -> Loss:
    return lambda a: (a - value).square().mean()


def both_in_one(models: dict[str, nn.Module]) -> dict[str, Any]:
    judge = chain(models["maker"].parameters(), models["judge"].parameters())
    return {
        "maker": torch.optim.Adam(models["maker"].parameters(), 1e-3),
        "judge": torch.optim.Adam(judge, 1e-3),
    }


def each_by_itself(models: dict[str, nn.Module]) -> dict[str, Any]:
    return {name: torch.optim.Adam(model.parameters(), 1e-3) for name, model in models.items()}


def game(*, detach: bool = False, asks: Loss | None = None) -> Callable[..., Tensor]:
    asks = asks or against(1.0)

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        made = model["maker"](torch.randn(len(batch[0]), 4))
        optimizer["judge"].zero_grad()
        fake = model["judge"](made.detach() if detach else made)
        loss = against(0.0)(fake) + against(1.0)(model["judge"](batch[0]))
        loss.backward()
        optimizer["judge"].step()
        optimizer["maker"].zero_grad()
        asks(model["judge"](model["maker"](torch.randn(len(batch[0]), 4)))).backward()
        optimizer["maker"].step()
        return loss

    return step


def models() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"maker": nn.Linear(4, 64), "judge": nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 1))}


@pytest.mark.parametrize(
    ("holds", "step", "found"),
    [
        (both_in_one, game(), (1, 0)),
        (both_in_one, game(detach=True), None),  # what the judge's optimizer holds besides has no gradient
        (both_in_one, game(asks=against(0.0)), None),  # both want the same, which is another fault
        (each_by_itself, game(), None),
    ],
)
def test_an_optimizer_that_moves_the_opponent_is_seen(holds: Any, step: Any, found: Any) -> None:
    nets = models()
    assert moved_by_critic(nets, holds(nets), step, batches(digits()[0].flatten(1))) == found


def test_two_optimizers_of_one_encoder_are_no_game() -> None:
    """An adversarial autoencoder: the encoder learns to reconstruct, and to deceive the judge."""
    nets = {"encoder": nn.Linear(64, 8), "decoder": nn.Linear(8, 64), "judge": nn.Linear(8, 1)}
    taken = {
        "whole": torch.optim.Adam(chain(nets["encoder"].parameters(), nets["decoder"].parameters()), 1e-3),
        "judge": torch.optim.Adam(nets["judge"].parameters(), 1e-3),
        "encoder": torch.optim.Adam(nets["encoder"].parameters(), 1e-3),
    }

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        def go(name: str, loss: Tensor) -> Tensor:
            for each in optimizer.values():
                each.zero_grad()
            loss.backward()
            optimizer[name].step()
            return loss

        code = model["encoder"](batch[0])
        loss = go("whole", F.mse_loss(model["decoder"](code), batch[0]))
        code = model["encoder"](batch[0]).detach()
        go("judge", against(0.0)(model["judge"](code)) + against(1.0)(model["judge"](torch.randn_like(code))))
        go("encoder", against(1.0)(model["judge"](model["encoder"](batch[0]))))
        return loss

    assert moved_by_critic(nets, taken, step, batches(digits()[0].flatten(1))) is None


def test_check_says_whose_optimizer_it_is() -> None:
    nets, loader = models(), batches(digits()[0].flatten(1))
    found = check(nets, loader, step=game(), optimizer=both_in_one(nets), rehearse_seconds=None).findings
    (finding,) = [f for f in found if f.code == "foreign_optimizer.opponent"]
    assert "optimizer of judge holds the parameters of maker" in finding.seen


def in_turn(
    *, asks: Loss | None = None, detach: bool = False, only_own: bool = False, labels: bool = False
) -> Callable[..., Tensor]:
    """Both models' steps by one optimizer; `only_own` takes away the gradients of the model whose turn it is not."""
    asks = asks or against(1.0)

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        def go(name: str, loss: Tensor) -> Tensor:
            optimizer.zero_grad()
            loss.backward()
            for other in model:
                for p in model[other].parameters() if only_own and other != name else ():
                    p.grad = None
            optimizer.step()
            return loss

        made = model["maker"](torch.randn(len(batch[0]), 4))
        answer = model["judge"](made.detach() if detach else made)
        wanted = torch.randint(0, 2, (len(answer), 1)).float() if labels else torch.zeros(len(answer), 1)
        loss = go("judge", F.mse_loss(answer, wanted) + against(1.0)(model["judge"](batch[0])))
        answer = model["judge"](model["maker"](torch.randn(len(batch[0]), 4)))
        go("maker", F.mse_loss(answer, 1 - wanted) if labels else asks(answer))
        return loss

    return step


def together(model: Any, optimizer: Any, batch: Any) -> Tensor:
    """One step of one loss, with the gradient turned around between the two."""
    made = model["maker"](torch.randn(len(batch[0]), 4))
    loss = against(0.0)(model["judge"](2 * made.detach() - made)) + against(1.0)(model["judge"](batch[0]))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def critic(answer: Tensor) -> Tensor:
    return -answer.mean()


@pytest.mark.parametrize(
    ("step", "found"),
    [
        (in_turn(), (1, 0)),
        (in_turn(asks=critic), (1, 0)),
        (in_turn(detach=True), (1, 0)),  # the judge is still moved for the maker's loss
        (in_turn(only_own=True), None),
        (in_turn(asks=against(0.0)), None),
        (in_turn(labels=True), None),  # one net of two parts, which is asked about two lots of examples
        (together, None),
    ],
)
def test_one_optimizer_that_undoes_its_own_steps_is_seen(step: Any, found: Any) -> None:
    nets = models()
    both = torch.optim.Adam(chain(nets["maker"].parameters(), nets["judge"].parameters()), 1e-3)
    assert moved_both_ways(nets, both, step, batches(digits()[0].flatten(1))) == found


def test_a_judge_of_two_parts_is_shown_real_and_made_examples_in_one_step() -> None:
    nets = models()
    nets = {"maker": nets["maker"], "body": nn.Sequential(nn.Linear(64, 16), nn.ReLU()), "head": nn.Linear(16, 1)}
    taken = {
        "maker": torch.optim.Adam(nets["maker"].parameters(), 1e-3),
        "judge": torch.optim.Adam(chain(nets["body"].parameters(), nets["head"].parameters()), 1e-3),
    }

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        def judged(x: Tensor) -> Tensor:
            return model["head"](model["body"](x))

        made = model["maker"](torch.randn(len(batch[0]), 4))
        optimizer["judge"].zero_grad()
        loss = against(1.0)(judged(batch[0])) + against(0.0)(judged(made.detach()))
        loss.backward()
        optimizer["judge"].step()
        optimizer["maker"].zero_grad()
        against(1.0)(judged(made)).backward()
        optimizer["maker"].step()
        return loss

    assert moved_both_ways(nets, taken, step, batches(digits()[0].flatten(1))) is None


def test_an_optimizer_for_each_is_no_matter_of_one() -> None:
    nets = models()
    assert moved_both_ways(nets, each_by_itself(nets), game(detach=True), batches(digits()[0].flatten(1))) is None


def test_check_says_that_one_optimizer_holds_both() -> None:
    nets, loader = models(), batches(digits()[0].flatten(1))
    both = torch.optim.Adam(chain(nets["maker"].parameters(), nets["judge"].parameters()), 1e-3)
    found = check(nets, loader, step=in_turn(), optimizer=both, rehearse_seconds=None).findings
    (finding,) = [f for f in found if f.code == "foreign_optimizer.opponent"]
    assert "one optimizer holds the parameters of judge and maker" in finding.seen


def test_a_structure_of_one_model_is_one_network() -> None:
    nets, loader = models(), batches(digits()[0].flatten(1))
    step = game(detach=True, asks=against(0.0))
    found = check(
        {"whole": nn.ModuleDict(nets)},
        loader,
        step=lambda m, o, b: step(m["whole"], o, b),
        optimizer=each_by_itself(nets),
        rehearse_seconds=None,
    )
    assert found.evidence.facts is None or found.evidence.facts.opponents.same_aim == ()


@pytest.mark.parametrize("wanted", [0.0, 1.0])
@pytest.mark.parametrize("as_one", [False, True])
def test_both_models_may_be_parts_of_one(as_one: bool, wanted: float) -> None:
    nets, loader = models(), batches(digits()[0].flatten(1))
    whole = nn.ModuleDict(nets) if as_one else nets
    step = game(detach=True, asks=against(wanted))
    found = check(whole, loader, step=step, optimizer=each_by_itself(nets), rehearse_seconds=None).findings
    assert ("wrong_sign.together" in {f.code for f in found}) is (wanted == 0.0)
