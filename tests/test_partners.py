"""Pairs of an example and its several partners, joined in two different orders, and steps that join them as the batch does."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of

B, K, WIDTH = 24, 3, 5
DRAW = torch.Generator().manual_seed(0)
X, NEAR, FAR = (torch.randn(*shape, WIDTH, generator=DRAW) for shape in ((B,), (B, K), (B, K)))
CLOSE = X + 0.1 * torch.randn(B, WIDTH, generator=DRAW)
MARKS = torch.cat([torch.ones(B * K), -torch.ones(B * K)])
Step = Callable[[Any, Any], Tensor]


class Tower(nn.Module):
    """The same for all rows."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(WIDTH, 16), nn.Tanh(), nn.Linear(16, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def marked(lay: Callable[[Tensor], Tensor]) -> Step:
    """Anchors beside near ones first, and far ones after that."""

    def step(model: Any, batch: Any) -> Tensor:
        x, near, far = batch
        partners = torch.cat([model(near.flatten(0, 1)), model(far.flatten(0, 1))])
        return F.cosine_embedding_loss(lay(model(x)), partners, MARKS, margin=0.3)

    return step


def triplets(lay: Callable[[Tensor], Tensor]) -> Step:
    def step(model: Any, batch: Any) -> Tensor:
        near, far = model(batch[1]).flatten(0, 1), model(batch[2]).flatten(0, 1)
        return F.triplet_margin_loss(lay(model(batch[0])), near, far, margin=3.0)

    return step


def products(lay: Callable[[Tensor], Tensor]) -> Step:
    def step(model: Any, batch: Any) -> Tensor:
        scores = (lay(model(batch[0])) * model(batch[1].flatten(0, 1))).sum(dim=1)
        return F.softplus(-scores).mean()

    return step


def in_one_call(lay: Callable[[Tensor], Tensor]) -> Step:
    def step(model: Any, batch: Any) -> Tensor:
        z, near = model(torch.cat([batch[0], batch[1].flatten(0, 1)])).split([B, B * K])
        return (lay(z) - near).square().mean()

    return step


def by_example(z: Tensor) -> Tensor:
    return z.repeat_interleave(K, dim=0)


def tiled(z: Tensor) -> Tensor:
    return z.repeat(K, 1)


WRONG = {
    "interleaved over both": marked(lambda z: z.repeat_interleave(2 * K, dim=0)),
    "tiled, beside marks": marked(lambda z: z.repeat(2 * K, 1)),
    "triplets": triplets(tiled),
    "products": products(tiled),
    "one call": in_one_call(tiled),
}


@pytest.mark.parametrize("name", WRONG)
def test_pairs_of_different_examples(name: str) -> None:
    torch.manual_seed(0)
    found = facts_of(Tower(), (X, NEAR, FAR), training_step=WRONG[name]).misaligned
    assert found is not None
    assert (found.given, found.num_partners) == ("[0]", K)
    assert found.num_wrong >= 0.75 * found.num_asked


def all_pairs(model: Any, batch: Any) -> Tensor:
    scores = model(batch[0]) @ model(batch[1].flatten(0, 1)).T
    return F.cross_entropy(scores, torch.arange(B) * K)


def own_and_shared(model: Any, batch: Any) -> Tensor:
    """A near one of its own, and far ones that all share."""
    z, near, far = model(batch[0]), model(batch[1][:, 0]), model(batch[2].flatten(0, 1))
    return F.cross_entropy(torch.cat([(z * near).sum(dim=1, keepdim=True), z @ far.T], dim=1), torch.zeros(B).long())


def others_far(model: Any, batch: Any) -> Tensor:
    z, near = model(batch[0]), model(batch[1][:, 0])
    return F.triplet_margin_loss(z, near, model(batch[2][:, 0]).roll(1, dims=0), margin=3.0)


def by_broadcast(model: Any, batch: Any) -> Tensor:
    return (model(batch[0])[:, None] - model(batch[1])).square().mean()


def unpaired(model: Any, batch: Any) -> Tensor:
    """Two sets that are compared as sets."""
    return (model(batch[0]).mean(dim=0) - model(batch[1].flatten(0, 1)).mean(dim=0)).square().mean()


def apart(model: Any, batch: Any) -> Tensor:
    return model(batch[0]).square().mean() + model(batch[1]).abs().mean()


def frozen(model: Any, batch: Any) -> Tensor:
    with torch.no_grad():
        goal = model(batch[1].flatten(0, 1))
    return (by_example(model(batch[0])) - goal).square().mean()


def neighbours(model: Any, batch: Any) -> Tensor:
    """Only rows of the anchors are compared; the others are a second task."""
    z = model(batch[0])
    return (z - z.roll(1, dims=0)).square().mean() + model(batch[1]).abs().mean()


SOUND: dict[str, Step] = {
    "interleaved": marked(lambda z: torch.cat([by_example(z), by_example(z)])),
    "triplets": triplets(by_example),
    "products": products(by_example),
    "one call": in_one_call(by_example),
    "all pairs": all_pairs,
    "own and shared": own_and_shared,
    "others' far ones": others_far,
    "broadcast": by_broadcast,
    "sets": unpaired,
    "apart": apart,
    "frozen": frozen,
    "neighbours": neighbours,
}


@pytest.mark.parametrize("name", SOUND)
def test_pairs_that_are_as_the_batch_has_them(name: str) -> None:
    torch.manual_seed(0)
    assert facts_of(Tower(), (X, NEAR, FAR), training_step=SOUND[name]).misaligned is None


def test_one_partner_each_may_be_any() -> None:
    torch.manual_seed(0)

    def step(model: Any, batch: Any) -> Tensor:
        return -(model(batch[0]) - model(batch[1]).flip(0)).square().mean()

    assert facts_of(Tower(), (X, CLOSE[torch.randperm(B)]), training_step=step).misaligned is None


def test_the_order_is_named() -> None:
    torch.manual_seed(0)
    facts = facts_of(Tower(), (X, NEAR, FAR), training_step=WRONG["interleaved over both"])
    told = next(f for f in diagnose(Evidence(facts=facts)).findings if f.code == "shuffled_labels.misaligned")
    assert "batch[1] holds 3 rows for each row of batch[0]" in told.seen
    assert "z.repeat_interleave(3, dim=0)" in (told.remedy or "")
