"""The best answer that is the same for every example: its cost under any loss, and runs that are no better than it."""

import dataclasses
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rule_examples import beside_the_mean, steps
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor
from trainability.doctor import diagnose
from trainability.doctor.best_constant import standing
from trainability.doctor.measure import constants, sampling
from trainability.doctor.measure.constants import constant_loss
from trainability.doctor.measure.rehearsal import rehearse
from trainability.doctor.measure.told_targets import LOSSES, told_constants

ROWS, CLASSES = 32, 5


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels() -> Tensor:
    return torch.arange(ROWS) % CLASSES


class Scores(nn.Module):
    """Scores of pairs from a table each, as recommenders have them."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(ROWS, 4), nn.Embedding(ROWS, 4)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.user(user) * self.item(item)).sum(dim=1)


class WithCost(nn.Module):
    """An answer and a cost of its own, as autoencoders with a codebook or a prior return."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.net(x), x.new_tensor(0.25)


def linear(outputs: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(6, outputs)


def ranked(model: Any, batch: Any) -> Tensor:
    user, item, other = batch
    return -F.logsigmoid(model(user, item) - model(user, other)).mean()


def in_batch(model: Any, batch: Any) -> Tensor:
    a = F.normalize(model(batch[0]), dim=1)
    return F.cross_entropy(10 * a @ drawn(ROWS, 8).T, torch.arange(ROWS))


def partial(model: Any, batch: Any) -> Tensor:
    risk = model(batch[0])[:, 0][batch[1].argsort(descending=True)]
    return -(risk - risk.logcumsumexp(dim=0)).mean()


def weighted(model: Any, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1], weight=torch.arange(1.0, CLASSES + 1))


def squares_and_cost(model: Any, batch: Any) -> Tensor:
    answer, cost = model(batch[0])
    return F.mse_loss(answer, batch[1]) + cost


def weighted_entropy() -> float:
    share = torch.bincount(labels()) * torch.arange(1.0, CLASSES + 1)
    share = share / share.sum()
    return float(-(share * share.log()).sum())


TRIPLES = (torch.arange(ROWS), torch.arange(ROWS).flip(0), torch.arange(ROWS).roll(5))
VALUES = drawn(ROWS, 3, seed=1)
KNOWN: dict[str, tuple[Callable[[], nn.Module], Any, Callable[[Any, Any], Tensor], float]] = {
    "pairs ranked": (Scores, TRIPLES, ranked, math.log(2)),
    "partial likelihood": (
        lambda: linear(1),
        (drawn(ROWS, 6), drawn(ROWS, seed=2)),
        partial,
        sum(math.log(k) for k in range(1, ROWS + 1)) / ROWS,
    ),
    "weighted cross-entropy": (lambda: linear(CLASSES), (drawn(ROWS, 6), labels()), weighted, weighted_entropy()),
    "squares and a cost": (
        WithCost,
        (drawn(ROWS, 6), VALUES),
        squares_and_cost,
        float(VALUES.var(dim=0, correction=0).mean()) + 0.25,
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_cost_of_one_answer_is_found_for_any_loss(name: str) -> None:
    make, batch, forward, cost = KNOWN[name]
    model = make()
    before = [p.detach().clone() for p in model.parameters()]
    assert constant_loss(model, (batch, batch), forward) == pytest.approx(cost, rel=5e-3)
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
    assert "forward" not in vars(model)


@pytest.mark.parametrize(("seconds", "most_losses"), [(math.inf, None), (100.0, None), (4.0, 3), (0.2, 2)])
def test_a_search_that_does_not_fit_the_time_is_not_begun(
    seconds: float, most_losses: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock on which each loss takes 0.05 s, and nothing else takes any."""
    losses = 0

    def counted(model: Any, batch: Any) -> Tensor:
        nonlocal losses
        losses += 1
        return weighted(model, batch)

    monkeypatch.setattr(constants, "time", SimpleNamespace(monotonic=lambda: 0.05 * losses))
    batch = (drawn(ROWS, 6), labels())
    found = constant_loss(linear(CLASSES), (batch, batch), counted, seconds=seconds)
    assert (found is not None) == (most_losses is None)
    assert losses <= most_losses if most_losses is not None else losses > 10


def test_of_scores_beside_each_other_one_answer_costs_about_the_logarithm_of_their_number() -> None:
    found = constant_loss(linear(8), [(drawn(ROWS, 6),)], in_batch)
    assert found is not None
    assert found == pytest.approx(math.log(ROWS), rel=0.05)


def test_a_row_that_is_fitted_to_few_examples_is_held_against_others() -> None:
    """Of a hundred classes 32 labels tell a few; of tokens at many places, a few at each."""

    def batch(seed: int, *shape: int) -> tuple[Tensor, Tensor]:
        drawn_labels = torch.randint(0, 100, shape, generator=torch.Generator().manual_seed(seed))
        return drawn(*shape, 6, seed=seed), drawn_labels

    def loss(model: Any, batch: Any) -> Tensor:
        return 2 * F.cross_entropy(model(batch[0]).flatten(0, -2), batch[1].flatten())

    for shape in ((ROWS,), (ROWS, 10)):
        batches = [batch(seed, *shape) for seed in range(3)]
        assert constant_loss(linear(100), batches, loss) == pytest.approx(2 * math.log(100), rel=0.01)
        assert constant_loss(linear(100), batches[:1], loss) == pytest.approx(2 * math.log(100), rel=0.01)


@pytest.mark.parametrize(("tail", "is_known"), [(0.0, True), (2.0, False)])
def test_what_a_few_examples_make_up_is_not_known_from_few_batches(tail: float, is_known: bool) -> None:
    """A weighted square, of targets with and without a long tail; the mean over the batches, where it is known."""
    weight = torch.linspace(0.5, 1.5, ROWS)
    batches = [(drawn(ROWS, 6), torch.exp(tail * drawn(ROWS, seed=k)) + drawn(ROWS, seed=20 + k)) for k in range(8)]

    def loss(model: Any, batch: Any) -> Tensor:
        return (weight * (model(batch[0])[:, 0] - batch[1]).square()).mean()

    found = constant_loss(linear(1), batches, loss)
    assert (found is not None) == is_known
    if found is not None:
        fitted = float((weight * batches[0][1]).sum() / weight.sum())
        assert found == pytest.approx(sum(float((weight * (y - fitted) ** 2).mean()) for _, y in batches) / 8, rel=1e-3)


NO_COST: dict[str, Callable[[Any, Any], Tensor]] = {
    "a loss that one answer meets": lambda model, batch: (model(batch[0]) - model(batch[0].flip(0))).square().mean(),
    "a policy's, without a floor": lambda model, batch: (model(batch[0])[:, 0] * batch[1]).mean(),
    "a model that is not called": lambda model, batch: model.weight.square().sum(),
    "a penalty on the gradient": lambda model, batch: (
        torch.autograd.grad(model(batch[0]).sum(), model.weight, create_graph=True)[0].square().sum()
    ),
}


@pytest.mark.parametrize("name", NO_COST)
def test_no_cost_where_a_constant_is_as_good_as_any_answer_or_cannot_be_asked(name: str) -> None:
    batch = (drawn(ROWS, 6), drawn(ROWS, seed=2))
    try:
        assert constant_loss(linear(3), (batch, batch), NO_COST[name]) is None
    except RuntimeError:  # which a rehearsal takes for not known
        assert name == "a penalty on the gradient"


TOLD = {
    "mse_loss": (drawn(ROWS, 3), VALUES, float(VALUES.var(dim=0).mean())),
    "cross_entropy": (drawn(ROWS, CLASSES), labels(), math.log(CLASSES)),
    "binary_cross_entropy_with_logits": (drawn(ROWS, 2), (torch.arange(2 * ROWS) % 3 % 2).float().view(ROWS, 2), 0.6365),
}


def told(output: Tensor, loss_of: Callable[[Tensor], Tensor], given: Tensor | None = None) -> dict[str, float]:
    output = output.clone().requires_grad_()
    loss = loss_of(output)
    loss.backward()
    assert output.grad is not None
    return dict(zip(LOSSES, told_constants(output, output.grad, loss, given).tolist(), strict=False))


@pytest.mark.parametrize("name", TOLD)
@pytest.mark.parametrize("size", [0.01, 1.0, 5.0])
def test_the_gradient_of_the_outputs_tells_the_targets(name: str, size: float) -> None:
    output, target, cost = TOLD[name]
    found = told(size * output, lambda x: getattr(F, name)(x, target))
    assert found.pop(name) == pytest.approx(cost, rel=0.1)
    assert all(map(math.isnan, found.values()))


def test_members_that_are_asked_for_the_same_are_no_examples() -> None:
    members = drawn(5, ROWS).view(5, ROWS, 1)
    found = told(members, lambda x: F.mse_loss(x, VALUES[:, :1].expand(5, ROWS, 1)))
    assert math.isnan(found["mse_loss"])


def test_places_tell_their_classes_and_those_that_are_ignored_are_left_out() -> None:
    tags, output = labels().view(-1, 8) % 3, 0.1 * drawn(ROWS, 3).view(-1, 8, 3)
    cost = math.log(3)
    ignored = tags.clone()
    ignored[:, 5:] = -100
    cases: list[tuple[Tensor, Callable[[Tensor], Tensor]]] = [
        (output, lambda x: F.cross_entropy(x.flatten(0, 1), ignored.flatten())),
        (output.transpose(1, 2), lambda x: F.cross_entropy(x, tags)),
        (output.transpose(1, 2), lambda x: F.cross_entropy(x, ignored)),
        (output.transpose(1, 2).unflatten(2, (2, 4)), lambda x: F.cross_entropy(x, tags.view(-1, 2, 4))),
        (output.transpose(1, 2).unflatten(2, (2, 4)), lambda x: F.cross_entropy(x, ignored.view(-1, 2, 4))),
    ]
    for made, loss_of in cases:
        assert told(made, loss_of)["cross_entropy"] == pytest.approx(cost, rel=0.15)


@pytest.mark.parametrize("part", [2, 4, 8])
@pytest.mark.parametrize("gain", [0.0, 1.0, 3.0])
def test_rows_that_are_chosen_because_they_cost_most_tell_nothing(part: int, gain: float) -> None:
    target = labels() % 3
    output = gain * F.one_hot(target, 3).float() + drawn(ROWS, 3)

    def hardest(x: Tensor) -> Tensor:
        return F.cross_entropy(x, target, reduction="none").topk(ROWS // part).values.mean()

    assert math.isnan(told(output, hardest)["cross_entropy"])


REBUILT: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "a mean": (lambda x: F.mse_loss(x, VALUES), float(VALUES.var(dim=0).mean())),
    "a sum over units, and a cost": (
        lambda x: (x - VALUES).square().sum(dim=1).mean() + 0.5,
        float(VALUES.var(dim=0).sum()) + 0.5,
    ),
}


SHARES = (torch.arange(3 * ROWS) * 7 % 10 / 9.0).view(ROWS, 3).square()
REBUILT_SHARES: dict[str, tuple[Callable[[Tensor], Tensor], bool, float]] = {
    "logits": (lambda x: F.binary_cross_entropy_with_logits(x, SHARES.round()) + 0.2, True, 0.2),
    "probabilities": (lambda x: F.binary_cross_entropy(x, SHARES.round()) + 0.2, False, 0.2),
    "a sum": (lambda x: F.binary_cross_entropy(x, SHARES.round(), reduction="sum") / ROWS, False, 0.0),
}


@pytest.mark.parametrize("name", REBUILT_SHARES)
def test_marks_that_are_made_anew_are_held_against_the_mean_of_each_unit(name: str) -> None:
    loss_of, of_logits, more = REBUILT_SHARES[name]
    marks = SHARES.round()
    output = drawn(ROWS, 3) if of_logits else drawn(ROWS, 3).sigmoid()
    mean = marks.mean(dim=0)
    entropy = -(torch.special.xlogy(mean, mean) + torch.special.xlogy(1 - mean, 1 - mean))
    cost = float(entropy.sum() if name == "a sum" else entropy.mean()) + more
    assert told(output, loss_of, marks)["reconstruction"] == pytest.approx(cost, rel=0.03)


def test_shares_that_cost_nearly_as_much_to_the_letter_are_not_held_against_their_mean() -> None:
    grey = 0.4 + 0.2 * SHARES
    assert math.isnan(told(drawn(ROWS, 3), lambda x: F.binary_cross_entropy_with_logits(x, grey), grey)["reconstruction"])


@pytest.mark.parametrize("name", REBUILT)
def test_outputs_that_rebuild_the_input_are_held_against_its_mean(name: str) -> None:
    loss_of, cost = REBUILT[name]
    assert told(drawn(ROWS, 3), loss_of, VALUES)["reconstruction"] == pytest.approx(cost, rel=1e-4)


def test_outputs_that_rebuild_something_else_are_not() -> None:
    noisy = VALUES + 0.3 * drawn(ROWS, 3, seed=8)
    assert math.isnan(told(drawn(ROWS, 3), REBUILT["a mean"][0], noisy)["reconstruction"])


NOT_TOLD: dict[str, Callable[[Tensor], Tensor]] = {
    "a sum": lambda x: F.mse_loss(x, VALUES, reduction="sum"),
    "half": lambda x: 0.5 * F.mse_loss(x, VALUES),
    "distances": lambda x: F.l1_loss(x, VALUES),
    "class weights": lambda x: F.cross_entropy(x, labels() % 3, weight=torch.tensor([1.0, 2.0, 3.0])),
    "two terms": lambda x: F.mse_loss(x, VALUES) + 0.1 * x.square().mean(),
    "a penalty alone": lambda x: x.square().mean(),
    "a margin": lambda x: F.multi_margin_loss(x, labels() % 3),
}


@pytest.mark.parametrize("name", NOT_TOLD)
def test_another_loss_tells_nothing(name: str) -> None:
    assert all(map(math.isnan, told(drawn(ROWS, 3), NOT_TOLD[name]).values()))


def watched(
    loss_of: Callable[[Tensor, Tensor], Tensor], target: Tensor, *, gain: float = 1.0, steps: int = 320, lr: float = 0.05
):
    """A linear net on inputs that tell the target (gain 1) or nothing (gain 0), watched by Monitor alone."""
    torch.manual_seed(0)
    x = torch.cat([drawn(len(target), 4, seed=5), gain * target.float().reshape(len(target), -1)], dim=1)
    units = int(target.max()) + 1 if not target.is_floating_point() else target.shape[1]
    model = nn.Sequential(nn.Linear(x.shape[1], 16), nn.ReLU(), nn.Linear(16, units))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    with Monitor(model, optimizer, every=20) as monitor:
        for step in range(steps):
            rows = slice(32 * (step % 8), 32 * (step % 8) + 32)
            loss = loss_of(model(x[rows]), target[rows])
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    return monitor.evidence()


@pytest.mark.parametrize(
    ("loss_of", "target"),
    [
        (F.mse_loss, drawn(256, 1, seed=3)),
        (F.cross_entropy, torch.arange(256) * 7 % 3),
        (F.binary_cross_entropy_with_logits, (drawn(256, 1, seed=4) > 0).float()),
    ],
    ids=LOSSES[:3],
)
def test_monitor_alone_holds_a_run_beside_one_answer_for_all(loss_of: Callable, target: Tensor) -> None:
    nothing, learned = watched(loss_of, target, gain=0.0), watched(loss_of, target, lr=0.2)
    at, beyond = standing(nothing), standing(learned)
    assert at is not None
    assert at.is_no_better
    assert beyond is not None
    assert not beyond.is_no_better
    assert "constant_as_good" in {f.rule for f in diagnose(nothing).findings}
    assert diagnose(nothing).verdict in ("stalled", "cannot tell", "dead")
    assert diagnose(learned).verdict in ("has learned", "was still training when it ended")
    assert not [f.code for f in diagnose(learned).findings if f.severity != "hint"]


def test_the_watch_goes_on_where_the_targets_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(output: Tensor, *_: Any) -> Tensor:
        return output - output.to("meta")

    monkeypatch.setattr(sampling, "told_constants", elsewhere)
    evidence = watched(F.mse_loss, drawn(256, 1, seed=3), steps=60)
    assert len(evidence.samples) >= 3
    assert {sample.task_loss for sample in evidence.samples} == {None}


class Values(nn.Module):
    """Values of states, and a copy of what makes them."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.slow = linear(1), linear(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.own(x)


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_a_constant_costs_nothing_known_where_a_slow_copy_moves_the_goals(share: float) -> None:
    torch.manual_seed(0)
    model, states, rewards = Values(), drawn(ROWS, 6), drawn(ROWS, 1, seed=1)
    optimizer = torch.optim.Adam(model.own.parameters(), lr=1e-2)

    def loss(model: Any, batch: Any) -> Tensor:
        return (model(batch[0]) - batch[1] - 0.9 * model.slow(batch[0]).detach()).abs().pow(1.5).mean()

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        optimizer.zero_grad()
        found = loss(model, batch)
        found.backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(model.slow.parameters(), model.own.parameters(), strict=True):
                slow.lerp_(fast, share)
        return found

    tried = rehearse(model, optimizer, [(states, rewards)] * 12, training_step=loss, step=step, max_steps=10)
    assert (tried.constant_loss is None) is (share > 0)


@pytest.mark.parametrize(("rate", "verdict"), [(0.1, "has learned"), (2e-3, "was still training when it ended")])
def test_a_regression_that_tells_nine_tenths_of_the_variance_has_learned(rate: float, verdict: str) -> None:
    x = drawn(256, 6)
    y = x[:, :1] - 2 * x[:, 1:2] + 0.1 * drawn(256, 1, seed=1)
    model = linear(1)
    optimizer = torch.optim.SGD(model.parameters(), rate)
    with Monitor(model, optimizer, every=20) as monitor:
        for step in range(200):
            rows = slice(64 * (step % 4), 64 * (step % 4) + 64)
            loss = F.mse_loss(model(x[rows]), y[rows])
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
            optimizer.zero_grad()
    assert monitor.diagnose().verdict == verdict


@pytest.mark.parametrize(("rest", "verdict"), [(1.0, "stalled"), (0.9, "cannot tell"), (0.5, "has learned")])
def test_a_run_that_rests_below_the_constant_may_have_learned_what_there_is(rest: float, verdict: str) -> None:
    first = [3.0 - 0.02 * i for i in range(50)]
    seen = dataclasses.replace(beside_the_mean(1.0, 1), steps=steps([*first, *(2.0 * rest, 2.02 * rest) * 200]))
    assert diagnose(seen).verdict == verdict
