"""Two inputs of each example that were shuffled apart, under losses that compare the pairs of a batch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_programs import batches
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.pair_facts import PairRelation

Step = Callable[[Any, Any], Tensor]


def pairs(count: int, seed: int, *, apart: bool, noise: float = 0.1, pairs_of: str = "numbers") -> tuple[Tensor, Tensor]:
    """Two views of one latent vector of four, or its words."""
    world, rng = torch.Generator().manual_seed(7), torch.Generator().manual_seed(seed)
    z = torch.randn(count, 4, generator=rng)
    one = torch.tanh(z @ torch.randn(4, 12, generator=world)) + noise * torch.randn(count, 12, generator=rng)
    other = (z @ torch.randn(4, 20, generator=world)).relu() + noise * torch.randn(count, 20, generator=rng)
    if pairs_of == "words":
        other = (z.repeat(1, 2) > 0).long() + 2 * torch.arange(8)
    return one, other[torch.randperm(count, generator=rng)] if apart else other


def tower(width: int, words: int = 0) -> nn.Module:
    first = [nn.Embedding(words, 8), nn.Flatten()] if words else []
    return nn.Sequential(*first, nn.Linear(64 if words else width, 32), nn.ReLU(), nn.Linear(32, 8))


class Scores(nn.Module):
    """Scores of all pairs, (n, n)."""

    def __init__(self, *, words: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.other = tower(12), tower(20, words)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return 10 * F.normalize(self.one(one), dim=1) @ F.normalize(self.other(other), dim=1).T


def own_first(model: Any, batch: Any) -> Tensor:
    scores = model(*batch)
    target = torch.arange(len(scores))
    return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2


def each_alone(model: Any, batch: Any) -> Tensor:
    """A sigmoid for each pair."""
    scores = model(*batch)
    return F.binary_cross_entropy_with_logits(scores - 3, torch.eye(len(scores)))


def by_towers(model: Any, batch: Any) -> Tensor:
    a, b = F.normalize(model.one(batch[0]), dim=1), F.normalize(model.other(batch[1]), dim=1)
    return F.cross_entropy(10 * a @ b.T, torch.arange(len(a)))


def in_turn(model: Any, batch: Any) -> Tensor:
    """Negatives are the next example's."""
    a, b = F.normalize(model.one(batch[0]), dim=1), F.normalize(model.other(batch[1]), dim=1)
    return F.triplet_margin_loss(a, b, b.roll(1, dims=0), margin=3.0)


STEPS: dict[str, Step] = {"scores": own_first, "sigmoids": each_alone, "towers": by_towers, "triplets": in_turn}


def related(step: Step, *, apart: bool, **how: Any) -> PairRelation | None:
    x, y = pairs(900, 1, apart=apart, **how)
    model = Scores(words=16 if how.get("pairs_of") == "words" else 0)
    return facts_of(model, (x[:32], y[:32]), training_step=step, batches=batches(x, y)).pair_relation


@pytest.mark.parametrize("name", STEPS)
def test_what_two_inputs_have_to_do_with_each_other(name: str) -> None:
    wrong, sound = (related(STEPS[name], apart=apart) for apart in (True, False))
    assert wrong is not None
    assert sound is not None
    assert (wrong.one, wrong.other, wrong.num_examples, wrong.is_plain) == ("[0]", "[1]", 600, True)
    assert wrong.z < 3.5 < 8.0 <= sound.z


@pytest.mark.parametrize("how", [{"noise": 2.0}, {"pairs_of": "words"}])
def test_a_weak_relation_is_one(how: dict[str, Any]) -> None:
    wrong, sound = (related(own_first, apart=apart, **how) for apart in (True, False))
    assert wrong is not None
    assert sound is not None
    assert wrong.z < 3.5 < sound.z


class Together(nn.Module):
    """One answer to both inputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = tower(32)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return self.net(torch.cat([one, other], dim=1))


def of_an_equation(model: Any, batch: Any) -> Tensor:
    return model(*batch).square().mean()


def of_sets(model: Any, batch: Any) -> Tensor:
    return (model.one(batch[0]).mean(dim=0) - model.other(batch[1]).mean(dim=0)).square().mean()


@pytest.mark.parametrize(("model", "step"), [(Together, of_an_equation), (Scores, of_sets)])
def test_inputs_that_are_no_pairs(model: Callable[[], nn.Module], step: Step) -> None:
    x, y = pairs(900, 1, apart=True)
    assert facts_of(model(), (x[:32], y[:32]), training_step=step, batches=batches(x, y)).pair_relation is None


@pytest.mark.parametrize(
    ("apart", "held_out", "expected"), [(True, True, "warning"), (True, False, "warning"), (False, True, None)]
)
@pytest.mark.parametrize("name", ["scores", "towers"])
def test_check_names_pairs_that_were_shuffled_apart(name: str, apart: bool, held_out: bool, expected: str | None) -> None:
    model = Scores()
    found = check(
        model,
        batches(*pairs(3000, 1, apart=apart)),
        training_step=STEPS[name],
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        val_loader=batches(*pairs(400, 2, apart=False)) if held_out else None,
        rehearse_seconds=30.0,
    )
    said = {f.code: f.severity for f in found.findings}
    assert said.get("shuffled_labels.pairs") == expected
