"""Losses and loops that a program's author writes himself: each mistake beside its sound twin."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from rule_examples import fact, layer, rehearsed
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.evidence import Sample, StepRecord
from trainability.doctor.facts import Facts, LossGraph
from trainability.doctor.measure.certain import facts_of, facts_of_step
from trainability.doctor.measure.loss_arguments import wrong_argument
from trainability.doctor.measure.rehearsal import rehearse
from trainability.doctor.pair_facts import Misaligned, PairForces
from trainability.doctor.rehearsed import CriticalStep, Observation, Rewritten

RNG = torch.Generator().manual_seed(0)
X, Y = torch.randn(24, 6, generator=RNG), torch.arange(24) % 4
TOKENS = torch.randint(1, 9, (16, 7), generator=RNG)
LOGITS = torch.randn(5, 3, generator=RNG)
ZEROS, SIGNS = torch.tensor([0.0, 1, 0, 1, 1]), torch.tensor([-1.0, 1, -1, 1, 1])


def net(outputs: int = 5) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, outputs))


# ------------------------------------------------------------------------------------------ what losses are given

PROBABILITIES = LOGITS.softmax(dim=1)


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "word"),
    [
        ("kl_div", (PROBABILITIES, PROBABILITIES), {}, "probabilities"),
        ("kl_div", (LOGITS, PROBABILITIES), {}, "raw"),
        ("kl_div", (LOGITS.log_softmax(1), PROBABILITIES), {"log_target": True}, "log_target"),
        ("kl_div", (LOGITS.log_softmax(1), PROBABILITIES), {}, None),
        ("kl_div", (LOGITS.log_softmax(1), LOGITS.log_softmax(1)), {"log_target": True}, None),
        ("ctc_loss", (LOGITS, ZEROS), {}, "raw"),
        ("ctc_loss", (LOGITS.log_softmax(1), ZEROS), {}, None),
        ("ctc_loss", (LOGITS.log_softmax(0), ZEROS), {}, "over_steps"),
        ("ctc_loss", (torch.stack([LOGITS, -LOGITS], dim=1).log_softmax(1), ZEROS), {}, "over_examples"),
        ("ctc_loss", (LOGITS.log_softmax(1) - 1, ZEROS), {}, "elsewhere"),
        ("ctc_loss", (torch.cat([LOGITS.log_softmax(1), torch.zeros(9, 3)]), ZEROS), {}, None),
        ("poisson_nll_loss", (LOGITS, PROBABILITIES), {"log_input": False}, "below_zero"),
        ("poisson_nll_loss", (LOGITS, PROBABILITIES, False), {}, "below_zero"),
        ("poisson_nll_loss", (LOGITS, PROBABILITIES), {}, None),
        ("poisson_nll_loss", (PROBABILITIES, PROBABILITIES), {"log_input": False}, None),
        ("cross_entropy", (LOGITS, LOGITS), {}, "negative"),
        ("cross_entropy", (LOGITS, PROBABILITIES), {}, None),
        ("cross_entropy", (LOGITS, PROBABILITIES), {"label_smoothing": 0.9}, "smoothed"),
        ("cross_entropy", (LOGITS, PROBABILITIES), {"label_smoothing": 1.0}, None),  # asks for undecided answers
        ("cross_entropy", (LOGITS[:, :2], PROBABILITIES[:, :2]), {"label_smoothing": 0.5}, None),  # leaves three quarters
        ("cross_entropy", (LOGITS, PROBABILITIES), {"label_smoothing": 0.3}, None),
        ("gaussian_nll_loss", (LOGITS, LOGITS, PROBABILITIES), {}, None),
        ("soft_margin_loss", (LOGITS[:, 0], ZEROS), {}, "zeros"),
        ("soft_margin_loss", (LOGITS[:, 0], SIGNS), {}, None),
        ("cosine_embedding_loss", (LOGITS, LOGITS, ZEROS), {}, "zeros"),
        ("cosine_embedding_loss", (LOGITS, LOGITS, SIGNS), {}, None),
        ("margin_ranking_loss", (LOGITS[:, 0], LOGITS[:, 1]), {"target": ZEROS}, "zeros"),
        ("mse_loss", (LOGITS, LOGITS), {}, None),
    ],
)
def test_arguments_of_losses_are_what_they_take(name: str, args: tuple, kwargs: dict, word: str | None) -> None:
    assert wrong_argument(name, args, kwargs) == ((name, word) if word else None)


@pytest.mark.parametrize(("last", "word"), [(F.softmax, ("kl_div", "probabilities")), (F.log_softmax, None)])
def test_a_divergence_of_probabilities_is_seen_in_the_loss(last: Any, word: Any) -> None:
    target = torch.full((24, 5), 0.2)
    found = facts_of(net(), (X, target), training_step=lambda m, b: F.kl_div(last(m(b[0]), dim=1), b[1], reduction="batchmean"))
    assert found.wrong_argument == word


@pytest.mark.parametrize(("sign", "negated"), [(-1.0, "kl_div"), (1.0, None)])
def test_minus_a_divergence_is_wanted_larger(sign: float, negated: str | None) -> None:
    def step(model: Any, batch: Any) -> Tensor:
        return sign * F.kl_div(model(batch[0]).log_softmax(dim=1), batch[1], reduction="batchmean")

    assert facts_of(net(), (X, torch.rand(24, 5, generator=RNG).softmax(dim=1)), training_step=step).negated_task == negated


def test_a_function_without_slope_is_named() -> None:
    found = facts_of(net(), (X, X[:, :5]), training_step=lambda m, b: F.mse_loss(m(b[0]).round(), b[1]))
    assert (found.no_weight_moves, found.flat_function) == (True, "round() in the loss")
    assert told(Evidence(facts=found)) == ["flat_loss.step_function"]


# -------------------------------------------------------------------------------------------------- losses of pairs


def cosines(points: Tensor) -> Tensor:
    p = F.normalize(points, dim=1)
    return p @ p.T


def contrast(points: Tensor, same: Tensor, temperature: float = 0.2) -> Tensor:
    eye = torch.eye(len(points), dtype=torch.bool)
    alike = cosines(points) / temperature
    share = alike - alike.masked_fill(eye, -torch.inf).logsumexp(dim=1, keepdim=True)
    return -(share * same).sum(dim=1).div(same.sum(dim=1).clamp(min=1)).mean()


def hardest(points: Tensor, same: Tensor) -> Tensor:
    gap = (points[:, None] - points[None]).square().sum(dim=2).add(1e-8).sqrt()
    far = gap.masked_fill(~same, -1.0).amax(dim=1)
    return F.relu(far - gap.masked_fill(same | ~OFF_DIAGONAL, 99.0).amin(dim=1) + 5.0).mean()


def margins(points: Tensor, same: Tensor) -> Tensor:
    gap = 1 - cosines(points)
    return torch.where(same, gap, F.relu(2.0 - gap)).mean()


OFF_DIAGONAL = ~torch.eye(24, dtype=torch.bool)


@pytest.mark.parametrize("loss", [contrast, hardest, margins])
def test_like_and_unlike_pairs_are_told_apart_by_what_the_loss_wants(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    def step(exchanged: bool) -> Facts:
        def of(model: Any, batch: Any) -> Tensor:
            same = (batch[1][:, None] == batch[1][None]) & OFF_DIAGONAL
            return loss(model(batch[0]), ~same & OFF_DIAGONAL if exchanged else same)

        return facts_of(net(), (X, Y), training_step=of)

    right, wrong = step(False).pair_forces, step(True).pair_forces
    assert right is not None
    assert (right.alike_pulled, right.alike_pushed) == (1.0, 0.0)
    assert wrong is not None
    assert (wrong.alike_pulled, wrong.alike_pushed) == (0.0, 1.0)


def test_a_contrast_without_positives_pulls_nothing() -> None:
    def step(model: Any, batch: Any) -> Tensor:
        alike = cosines(model(batch[0])) / 0.2
        return -(alike - alike.logsumexp(dim=1, keepdim=True)).diagonal().mean()

    found = facts_of(net(), (X, Y), training_step=step).pair_forces
    assert found is not None
    assert (found.num_pulled, found.num_pushed) == (0, 24 * 23 // 2)


@pytest.mark.parametrize("masked", [False, True])
def test_the_nearest_positive_is_not_itself(masked: bool) -> None:
    def step(model: Any, batch: Any) -> Tensor:
        gap, same = (cosines(model(batch[0])).neg() + 1), batch[1][:, None] == batch[1][None]
        near = gap.masked_fill(~same | ~OFF_DIAGONAL if masked else ~same, 99.0).amin(dim=1)
        return F.relu(near - gap.masked_fill(same, 99.0).amin(dim=1) + 1.0).mean()

    found = facts_of(net(), (X, Y), training_step=step)
    assert found.pair_forces is not None
    assert (found.pair_forces.num_pulled == 0) == (not masked)
    said = [f.severity for f in diagnose(Evidence(facts=found)).findings if f.code == "wrong_sign.no_positives"]
    assert said == ([] if masked else ["hint"])


def products(p: Tensor, q: Tensor) -> Tensor:
    return (p @ q.T).log_softmax(dim=1)


MEASURED = 4 + torch.rand(12, generator=RNG)
AGAINST = {
    "distances": (lambda p, q: F.mse_loss((p - q).norm(dim=1), MEASURED), True),
    "far distances": (lambda p, q: F.mse_loss((p - q).norm(dim=1), 40 * MEASURED), True),
    "similarities": (lambda p, q: F.mse_loss(F.cosine_similarity(p, q), MEASURED / 20), True),
    "ratings": (lambda p, q: F.mse_loss((p * q).sum(dim=1), MEASURED / 1e3), True),
    "right angles": (lambda p, q: F.cosine_similarity(p, q).square().mean(), False),
    "below a margin": (lambda p, q: F.relu(9 - (p - q).norm(dim=1)).square().mean(), False),
    "products without positives": (lambda p, q: products(torch.cat([p, q]), torch.cat([p, q])).diagonal().neg().mean(), False),
    "uniform": (lambda p, q: torch.cdist(p, q).square().mul(-2).exp().mean().log(), False),
}


@pytest.mark.parametrize("name", AGAINST)
def test_what_is_measured_is_pulled_beyond_it(name: str) -> None:
    loss, is_pulled = AGAINST[name]
    found = facts_of(net(), (X[:12], X[12:]), training_step=lambda m, b: loss(m(b[0]), m(b[1])))
    assert found.pair_forces is not None
    assert found.pair_forces.num_pushed >= 12
    assert (found.pair_forces.num_pulled >= 6) == is_pulled
    assert is_pulled or found.pair_forces.num_pulled == 0
    assert ("wrong_sign.no_positives" in told(Evidence(facts=found))) == (not is_pulled)


@pytest.mark.parametrize("masked", [False, True])
def test_the_nearest_of_each_example_is_not_itself(masked: bool) -> None:
    places = torch.randn(len(X), 2, generator=torch.Generator().manual_seed(0))
    itself = torch.eye(len(X), dtype=torch.bool)

    def step(model: Any, batch: Any) -> Tensor:
        apart, alike = torch.cdist(batch[1], batch[1]), cosines(model(batch[0])) / 0.2
        if masked:
            apart, alike = apart.masked_fill(itself, torch.inf), alike.masked_fill(itself, -torch.inf)
        return F.cross_entropy(alike, apart.argmin(dim=1))

    found = facts_of(net(), (X, places), training_step=step)
    codes = [f.code for f in diagnose(Evidence(facts=found)).findings if f.severity != "hint"]
    assert codes == ([] if masked else ["wrong_sign.no_positives"])


@pytest.mark.parametrize("shift", [0, 1])
def test_views_are_held_against_their_own_twin(shift: int) -> None:
    def step(model: Any, batch: Any) -> Tensor:
        one, other = (F.normalize(model(batch[0] + 0.1 * torch.randn_like(batch[0])), dim=1) for _ in range(2))
        return F.cross_entropy(one @ other.T / 0.2, torch.arange(len(one)).roll(shift))

    found = facts_of(net(), (X, Y), training_step=step).pair_forces
    assert found is not None
    assert found.strangers == (24 if shift else 0)


@pytest.mark.parametrize("detaches", [True, False])
def test_views_that_are_only_pulled_together_need_a_side_that_stands_still(detaches: bool) -> None:
    def step(model: Any, batch: Any) -> Tensor:
        one, other = model(batch[0], batch[0].flip(1))
        return 2 - 2 * (one * (other.detach() if detaches else other)).sum(dim=1).mean()

    found = facts_of(Towers(), (X, Y), training_step=step).pair_forces
    assert found is not None
    assert (found.num_pulled, found.num_pushed, found.num_mutual) == (24, 0, 0 if detaches else 24)


def test_a_margin_that_all_unlike_pairs_keep_pushes_them_apart_once_they_come_near() -> None:
    size = float(net()(X).detach().norm(dim=1).mean())

    def step(model: Any, batch: Any) -> Tensor:
        (one, other), like = model(batch[0]).chunk(2), torch.arange(12) < 6
        apart = (one - other).norm(dim=1)
        return torch.where(like, apart.square(), (0.1 * size - apart).relu().square()).mean()

    found = facts_of(net(), (X, Y), training_step=step).pair_forces
    assert found is not None
    assert (found.num_pulled, found.num_pushed) == (6, 6)


def test_a_view_that_is_taken_without_gradients_stands_still() -> None:
    def step(model: Any, batch: Any) -> Tensor:
        with torch.no_grad():
            other = F.normalize(model(batch[0].flip(1)), dim=1)
        return 2 - 2 * (F.normalize(model(batch[0]), dim=1) * other).sum(dim=1).mean()

    found = facts_of(net(), (X, Y), training_step=step).pair_forces
    assert found is not None
    assert (found.num_pulled, found.num_mutual) == (24, 0)


class Towers(nn.Module):
    """A tower for what is seen and one for what is said of it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.said = net(), net()

    def forward(self, seen: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
        return F.normalize(self.seen(seen), dim=1), F.normalize(self.said(said), dim=1)


@pytest.mark.parametrize("wrong", ["", "rolled", "pushed"])
def test_two_towers_are_given_what_belongs_together(wrong: str) -> None:
    def step(model: Any, batch: Any) -> Tensor:
        seen, said = model(batch[0], batch[1].roll(1, dims=0) if wrong == "rolled" else batch[1])
        alike = seen @ said.T / 0.2
        if wrong == "pushed":
            return alike.diagonal().mean()
        return F.cross_entropy(alike, torch.arange(len(alike))) + F.cross_entropy(alike.T, torch.arange(len(alike)))

    found = facts_of(Towers(), (X, X.flip(1)), training_step=step)
    assert (found.misaligned is not None) == (wrong == "rolled")
    assert found.pair_forces is not None
    assert bool(found.pair_forces.num_pulled) == (wrong != "pushed")


def test_a_loss_of_single_answers_is_none_of_pairs() -> None:
    assert facts_of(net(), (X, Y), training_step=lambda m, b: F.cross_entropy(m(b[0]), b[1])).pair_forces is None


# ------------------------------------------------------------------------------------------- answers beside targets

WHO = torch.rand(24, generator=RNG) < 0.5


def by_mask(model: Any, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0])[WHO], batch[1][WHO])


def to_the_first(model: Any, batch: Any) -> Tensor:
    said = model(batch[0])[WHO]
    return F.cross_entropy(said, batch[1][: len(said)])


def rolled(model: Any, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0].roll(1, dims=0)), batch[1])


def in_one_order(model: Any, batch: Any) -> Tensor:
    order = torch.randperm(len(batch[0]))
    return F.cross_entropy(model(batch[0][order]), batch[1][order])


def in_two_orders(model: Any, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0][torch.randperm(24)]), batch[1][torch.randperm(24)])


def of_what_comes_next(model: Any, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0])[:-1], batch[1][1:])


def mixed_up(model: Any, batch: Any) -> Tensor:
    order = torch.randperm(24)
    output = model(0.7 * batch[0] + 0.3 * batch[0][order])
    return 0.7 * F.cross_entropy(output, batch[1]) + 0.3 * F.cross_entropy(output, batch[1][order])


@pytest.mark.parametrize("step", [to_the_first, rolled, in_two_orders])
def test_answers_held_against_other_targets_are_found(step: Any) -> None:
    found = facts_of(net(), (X, torch.randn(24, generator=RNG).argsort() % 4), training_step=step).misaligned
    assert found is not None
    assert (found.given, found.target) == ("[0]", "[1]")
    assert found.made != found.held


@pytest.mark.parametrize("step", [by_mask, in_one_order, of_what_comes_next, mixed_up])
def test_answers_held_against_their_own_targets_are_not(step: Any) -> None:
    assert facts_of(net(), (X, Y), training_step=step).misaligned is None


# ------------------------------------------------------------------------------------------------- the whole body


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.gru = nn.Embedding(9, 8), nn.GRU(8, 8, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.gru(self.table(tokens))[0]


class Writer(nn.Module):
    def __init__(self, *, over: int = 2, reads: bool = True) -> None:
        super().__init__()
        self.table, self.gru, self.head = nn.Embedding(9, 8), nn.GRU(8, 8, batch_first=True), nn.Linear(16, 9)
        self.over, self.reads = over, reads

    def forward(self, states: Tensor, written: Tensor) -> Tensor:
        h = self.gru(self.table(written))[0]
        found = (h @ states.mT).softmax(dim=self.over) @ states
        return self.head(torch.cat([h, found if self.reads else torch.zeros_like(found)], dim=2))


def translated(*, shifted: bool = True, **words: Any) -> Facts:
    torch.manual_seed(0)
    models = {"reader": Reader(), "writer": Writer(**words)}
    optimizers = {name: torch.optim.Adam(part.parameters()) for name, part in models.items()}
    before = [p.detach().clone() for part in models.values() for p in part.parameters()]

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        for each in optimizer.values():
            each.zero_grad()
        target = batch.flip(1)
        given = torch.cat([torch.zeros_like(target[:, :1]), target[:, :-1]], dim=1) if shifted else target
        loss = F.cross_entropy(model["writer"](model["reader"](batch), given).mT, target)
        loss.backward()
        for each in optimizer.values():
            each.step()
        return loss

    found = facts_of_step(models, TOKENS, step=step, optimizer=optimizers)
    after = [p for part in models.values() for p in part.parameters()]
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, after, strict=True))
    assert found is not None
    assert not found.notes
    return found


def test_several_models_are_looked_at_through_the_body_of_their_loop() -> None:
    sound = translated()
    assert (sound.leakage, sound.unshifted, sound.unreached) == (0.0, False, ())
    assert translated(shifted=False).unshifted
    assert (translated(over=0).leakage or 0.0) > 1e-3
    assert {(p.name.partition(".")[0], p.reason) for p in translated(reads=False).unreached} == {("reader", "dropped")}


def test_a_body_that_uses_its_own_model_is_left_alone() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(_: Any, optimizer: Any, batch: Any) -> Tensor:
        loss = model(batch[0]).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    assert facts_of_step(model, (X, Y), step=step, optimizer=optimizer) is None


def loop(after: Callable[[Any, dict[str, Tensor]], None]) -> Callable[..., Tensor]:
    kept = {name: p.detach().clone() for name, p in net().named_parameters()}

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            after(model, kept)
        return loss

    return step


def loads(model: nn.Module, kept: dict[str, Tensor]) -> None:
    model.load_state_dict(kept)


def follows_the_slow(model: nn.Module, kept: dict[str, Tensor]) -> None:
    for name, p in model.named_parameters():
        p.lerp_(kept[name], 0.999)


def clips(model: nn.Module, kept: dict[str, Tensor]) -> None:
    for p in model.parameters():
        p.clamp_(-0.2, 0.2)


def slow_follows(model: nn.Module, kept: dict[str, Tensor]) -> None:
    for name, p in model.named_parameters():
        kept[name].lerp_(p, 0.1)


@pytest.mark.parametrize(("after", "undone"), [(loads, 4), (follows_the_slow, 4), (clips, 0), (slow_follows, 0)])
def test_weights_that_are_put_back_are_counted(after: Any, undone: int) -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = rehearse(model, optimizer, [(X, Y)] * 10, step=loop(after), max_steps=10).rewritten
    assert found is not None
    assert (found.num_watched, len(found.undone)) == (4, undone)


def follows_the_average(model: nn.Module, kept: dict[str, Tensor]) -> None:
    for name, p in model.named_parameters():
        p.mul_(0.95).add_(kept[name], alpha=0.05)


def decays(model: nn.Module, kept: dict[str, Tensor]) -> None:
    for p in model.parameters():
        p.mul_(0.95)


def meets_the_average(model: nn.Module, kept: dict[str, Tensor]) -> None:
    slow_follows(model, kept)
    follows_the_average(model, kept)


@pytest.mark.parametrize(
    ("after", "pull"),
    [(follows_the_average, 0.05), (loads, 1.0), (decays, 0.0), (clips, 0.0), (slow_follows, 0.0), (meets_the_average, 0.0)],
)
def test_weights_that_are_averaged_with_their_start_are_told_from_others_that_something_writes(after: Any, pull: float) -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = rehearse(model, optimizer, [(X, Y)] * 10, step=loop(after), max_steps=10).rewritten
    assert found is not None
    assert found.pull == pytest.approx(pull, rel=1e-3)


# ------------------------------------------------------------------------------------------------ what is said of it


def told(evidence: Evidence) -> list[str]:
    diagnosis = diagnose(evidence)
    assert not any("itself failed" in line for line in diagnosis.not_checked)
    return [finding.code for finding in diagnosis.findings if finding.severity != "hint"]


def forces(pulled: int, pushed: int, **shares: Any) -> Evidence:
    return fact(pair_forces=PairForces(num_examples=24, num_pulled=pulled, num_pushed=pushed, num_alike=60, **shares))


def by_targets(pulled: int, pushed: int) -> Evidence:
    return fact(pair_forces=PairForces(num_examples=24, num_pulled=pulled, num_pushed=pushed), unpaired=True)


def held(**fields: Any) -> Evidence:
    row = Misaligned(given="[0]", target="[1]", num_wrong=12, num_asked=12, row=3, made=4, held=3)
    return fact(misaligned=row, **fields)


def undone(*names: str) -> Evidence:
    return rehearsed(rewritten=Rewritten(num_watched=4, undone=names))


def returned(num_unmoved: int) -> Evidence:
    """Four parameters that the optimizer moves, of which that many hold at the end what they held at first."""
    unmoved = ("a.bias", "b.bias", "c.bias", "d.weight")[:num_unmoved]
    return rehearsed(100, rewritten=Rewritten(num_watched=4, undone=()), unmoved=unmoved, num_parameters=4)


def followed(lowest: float, after: float) -> Evidence:
    """A rehearsal whose loss of 4 goes to `lowest` along three updates, and to `after` in 60 steps."""
    update = CriticalStep(
        multiple=1e5,
        loss_before=4.0,
        loss_after=4.0,
        lowest_loss=lowest,
        resolution=1e-6,
        update_norm=1.0,
        update_ratios=(("a.weight", 1e-4),),
        num_evaluations=8,
    )
    seen = (Observation(step=0, loss=4.0), Observation(step=60, loss=after))
    return rehearsed(60, norm=1e-4, reference=seen, critical=((1, update), (5, update), (15, update)))


@pytest.mark.parametrize(
    ("evidence", "codes"),
    [
        (forces(30, 30, alike_pulled=0.0, alike_pushed=1.0), ["wrong_sign.pairs"]),
        (forces(30, 30, alike_pulled=0.05, alike_pushed=1.0), []),
        (forces(30, 30, alike_pulled=1.0, alike_pushed=0.0), []),
        (forces(0, 276, alike_pushed=0.2), ["wrong_sign.no_positives"]),
        (forces(0, 23, alike_pushed=0.2), []),
        (
            fact(pair_forces=PairForces(num_examples=24, num_pulled=0, num_pushed=276), unpaired=True),
            ["wrong_sign.no_positives"],
        ),
        (
            fact(pair_forces=PairForces(num_examples=24, num_pulled=1, num_pushed=275), unpaired=True),
            ["target_broadcast.unpaired"],
        ),
        (forces(24, 300, strangers=24), ["wrong_sign.views"]),
        (forces(0, 24, num_blocks=2), ["wrong_sign.no_positives"]),
        (forces(24, 300, strangers=5), []),
        (forces(24, 0, num_mutual=24), ["collapsed_output.pulled"]),
        (forces(24, 0), []),
        (forces(24, 30, num_mutual=24), []),
        (held(), ["shuffled_labels.misaligned"]),
        (held(leakage=0.5), ["batch_leakage"]),
        (held(graph=LossGraph(viewed_across=((2, 24, 8), (24, 16)))), ["batch_leakage"]),
        (fact(wrong_argument=("kl_div", "raw")), ["wrong_sign.divergence"]),
        (fact(wrong_argument=("poisson_nll_loss", "below_zero")), ["wrong_sign.rates"]),
        (fact(wrong_argument=("hinge_embedding_loss", "zeros")), ["label_range.signs"]),
        (undone("a", "b", "c"), ["unmoved_parameter.with_gradient"]),
        (undone("a", "b"), []),
        (rehearsed(rewritten=Rewritten(num_watched=4, pulled=("a", "b", "c"), pull=0.02)), ["unmoved_parameter.with_gradient"]),
        (rehearsed(rewritten=Rewritten(num_watched=4, pulled=("a",))), []),
        (returned(4), ["unmoved_parameter.with_gradient"]),
        (returned(3), []),
        (followed(3.999, 4.001), ["vanishing_gradient.loss"]),
        (followed(3.9, 4.001), []),
        (followed(3.999, 3.9), []),
    ],
)
def test_each_is_named(evidence: Evidence, codes: list[str]) -> None:
    assert told(evidence) == codes


@pytest.mark.parametrize("gradient", [math.nan, 5.0])
def test_a_gradient_that_is_not_finite_at_once_was_not_made_by_a_step(gradient: float) -> None:
    """The update over weight is infinite then, and says nothing of the learning rate."""
    first = StepRecord(step=1, loss=1.0, gradient_norm=gradient)
    worst = layer(update_ratio=math.inf if math.isnan(gradient) else 50.0)
    evidence = Evidence(steps=(first,), samples=(Sample(step=1, layers=(worst, worst), batch_size=32),))
    found = [finding.code for finding in diagnose(evidence).findings]
    assert found[0] == ("not_finite.first_step" if math.isnan(gradient) else "exploding_gradient")


# ------------------------------------------------------------------------------------------ what a variance is called


def squared(mean: Tensor, raw: Tensor, y: Tensor) -> Tensor:
    std = F.softplus(raw)
    return F.gaussian_nll_loss(mean, y, std**2)


def of_log_variance(mean: Tensor, raw: Tensor, y: Tensor) -> Tensor:
    log_var = raw
    return F.gaussian_nll_loss(mean, y, log_var.exp())


def of_doubled_logarithm(mean: Tensor, raw: Tensor, y: Tensor) -> Tensor:
    log_std = raw * 1.0
    return F.gaussian_nll_loss(mean, y, (2 * log_std).exp())


def named_square(mean: Tensor, raw: Tensor, y: Tensor) -> Tensor:
    sigma2 = F.softplus(raw)
    sigma_sq = sigma2
    return F.gaussian_nll_loss(mean, y, sigma_sq)


def var_from_std(mean: Tensor, raw: Tensor, y: Tensor) -> Tensor:
    var_of_std = F.softplus(raw)
    return F.gaussian_nll_loss(mean, y, var_of_std)


def covariance(mean: Tensor, raw: Tensor, y: Tensor) -> Tensor:
    Sigma = F.softplus(raw)
    return F.gaussian_nll_loss(mean, y, Sigma)


def multiplied(mean: Tensor, raw: Tensor, y: Tensor) -> Tensor:
    std = F.softplus(raw)
    std = std * std
    return F.gaussian_nll_loss(mean, y, std)


def ones(mean: Tensor, raw: Tensor, y: Tensor) -> Tensor:
    sigma = torch.ones_like(mean)
    return F.gaussian_nll_loss(mean, y, sigma)


def deviation(mean: Tensor, raw: Tensor, y: Tensor) -> Tensor:
    std = F.softplus(raw)
    return nn.GaussianNLLLoss()(mean, y, std)


def of_log_deviation(mean: Tensor, raw: Tensor, y: Tensor) -> Tensor:
    log_sigma = raw * 1.0
    return F.gaussian_nll_loss(mean, y, torch.exp(log_sigma))


@pytest.mark.parametrize(
    ("loss", "fires"),
    [
        (squared, False),
        (of_log_variance, False),
        (of_doubled_logarithm, False),
        (named_square, False),
        (var_from_std, False),
        (covariance, False),
        (multiplied, False),
        (ones, False),
        (deviation, True),
        (of_log_deviation, True),
    ],
)
def test_a_standard_deviation_for_a_variance(loss: Callable[..., Tensor], fires: bool) -> None:
    def step(model: nn.Module, batch: Any) -> Tensor:
        x, y = batch
        mean, raw = model(x).unbind(1)
        return loss(mean, raw, y.float())

    found = facts_of(net(2), (X, Y), training_step=step)
    assert (found.wrong_argument == ("gaussian_nll_loss", "deviation")) is fires
