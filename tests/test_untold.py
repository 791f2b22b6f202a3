"""What a loss cannot tell: constants that solve it, terms without a slope, rounding, sums beside means, numbers that count."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.asked_for import unasked_for
from trainability.doctor.measure.certain import facts_of, facts_of_step
from trainability.doctor.measure.own_scale import scaled_by_themselves

RNG = torch.Generator().manual_seed(0)
X, TIMES = torch.randn(64, 6, generator=RNG), torch.rand(64, 1, generator=RNG)
BOXES = torch.cat([0.3 + 0.4 * torch.rand(64, 2, generator=RNG), 0.2 + 0.2 * torch.rand(64, 2, generator=RNG)], dim=1)
Step = Callable[[Any, Any], Tensor]


def net(inside: int, out: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inside, 16), nn.Tanh(), nn.Linear(16, out))


def asked(model: nn.Module, step: Step, batch: Any, batches: Any = ()) -> Any:
    return facts_of(model, batch, training_step=step, batches=batches or [batch])


def settles(start: float) -> Step:
    """The residual of u'' = 3 - u, and the error at a start where that counts."""

    def step(model: Any, batch: Any) -> Tensor:
        t = batch[0].clone().requires_grad_()
        u = by = model(t)
        for _ in range(2):
            by = torch.autograd.grad(by.sum(), t, create_graph=True)[0]
        return (by - (3 - u)).square().mean() + start * (model(torch.zeros(1, 1)) - 1).square().sum()

    return step


class FromOne(nn.Module):
    """A net whose answer at 0 is 1, whatever its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net(1, 1)

    def forward(self, t: Tensor) -> Tensor:
        """(n, 1) to (n, 1)."""
        return 1 + t * self.inner(t)


@pytest.mark.parametrize(
    ("model", "step", "found"),
    [(net(1, 1), settles(0.0), 3.0), (net(1, 1), settles(1.0), None), (FromOne(), settles(0.0), None)],
)
def test_an_equation_that_a_constant_solves_and_one_that_says_where_it_starts(model, step, found) -> None:
    seen = asked(model, step, (TIMES,)).solved_by
    assert seen == (found if found is None else pytest.approx(found, abs=1e-3))


class Twin(nn.Module):
    """Values, and a copy that makes goals."""

    def __init__(self) -> None:
        super().__init__()
        self.online, self.slow = net(6, 3), net(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 6) to (n, 3)."""
        return self.online(x)


def values(ends: bool) -> Step:
    def step(model: Any, batch: Any) -> Tensor:
        state, reward, after, done = batch
        with torch.no_grad():
            goal = reward + 0.5 * model.slow(after).amax(dim=1) * (1 - done if ends else 1.0)
        return F.mse_loss(model(state)[:, 0], goal)

    return step


def alike(model: Any, batch: Any) -> Tensor:
    """The answers of a model against those of its own copy: any constant does."""
    with torch.no_grad():
        goal = model.slow(batch[0])
    return F.mse_loss(model(batch[0]), goal)


def test_zero_is_not_the_least_that_score_matching_may_cost() -> None:
    """Half the square of the score and its divergence: a score of zero costs nothing, and the right one less."""

    def step(model: Any, batch: Any) -> Tensor:
        x = batch[0].clone().requires_grad_()
        score = model(x)
        slopes = [torch.autograd.grad(score[:, k].sum(), x, create_graph=True)[0][:, k] for k in range(6)]
        return 1.0 * (score.square().sum(dim=1) / 2 + sum(slopes)).mean()

    model = net(6, 6)
    with torch.no_grad():
        model[2].weight.mul_(3)
    assert step(model, (X,)) > 0
    assert asked(model, step, (X,)).solved_by is None


@pytest.mark.parametrize(
    ("step", "rewards", "found"),
    [
        (values(False), torch.full((64,), -1.0), -2.0),
        (values(True), torch.full((64,), -1.0), None),
        (values(False), torch.arange(64.0) % 2, None),
        (alike, torch.zeros(64), None),
    ],
)
def test_goals_that_are_one_number_and_goals_that_are_not(step: Step, rewards: Tensor, found: float | None) -> None:
    batch = (X, rewards, X.roll(1, dims=0), (torch.arange(64) % 5 == 0).float())
    seen = asked(Twin(), step, batch).solved_by
    assert seen == (found if found is None else pytest.approx(found, abs=1e-3))


@pytest.mark.parametrize(
    ("ends", "fresh", "marks", "found"),
    [
        (False, True, torch.arange(64) % 5 == 0, "far"),
        (False, False, torch.arange(64) % 5 == 0, "near"),
        (True, True, torch.arange(64) % 5 == 0, None),
        (False, True, torch.zeros(64), None),
    ],
)
def test_ends_that_no_goal_goes_by(ends: bool, fresh: bool, marks: Tensor, found: str | None) -> None:
    after = X + 0.1 * X.roll(1, dims=0)
    after = torch.where((torch.arange(64) % 5 == 0)[:, None] & torch.tensor(fresh), 0 * after, after)
    seen = asked(Twin(), values(ends), (X, X[:, 0], after, marks.float())).unread_ends
    assert seen == (None if found is None else ("[3]", pytest.approx(10.0 if found == "far" else 1.0, rel=0.5)))


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize(("mask", "found"), [("done", "[3]"), ("going on", None), ("none", None)])
def test_goals_that_go_on_at_the_ends_alone(mask: str, found: str | None, outside: bool) -> None:
    model, target = Twin(), Twin()
    done = (torch.arange(64) % 5 == 0).float()

    def step(own: Any, batch: Any) -> Tensor:
        state, reward, after, end = batch
        with torch.no_grad():
            value = (target if outside else own)(after)[:, 0]
        used = {"done": end, "going on": 1 - end, "none": torch.ones(64)}[mask]
        return F.mse_loss(own(state)[:, 0], reward + 0.9 * used * value)

    seen = asked(model, step, (X, X[:, 0], X + 0.1 * X.roll(1, dims=0), done)).reversed_ends
    assert seen == (None if found is None else (found, pytest.approx(0.2, abs=0.01)))


def test_a_consistency_that_is_asked_of_some_examples_is_no_goal_of_rewards() -> None:
    model = Twin()
    unlabelled = (torch.arange(64) % 3 == 0).float()

    def step(own: Any, batch: Any) -> Tensor:
        with torch.no_grad():
            wanted = own(batch[1]).softmax(1)
        apart = (own(batch[0]).softmax(1) - wanted).square().sum(1)
        return F.cross_entropy(own(batch[0]), batch[2]) + (batch[3] * apart).mean()

    assert asked(model, step, (X, X + 0.1 * X.roll(1, dims=0), torch.arange(64) % 3, unlabelled)).reversed_ends is None


def corridor(after_end: str, chance: bool = False, count: int = 2048) -> list[tuple[Tensor, ...]]:
    """Walks along eight places, of which the last ends an episode; the first batch has no end."""
    draws = torch.Generator().manual_seed(0)
    state, action = torch.randint(0, 7, (count,), generator=draws), torch.randint(0, 2, (count,), generator=draws)
    slips = torch.randint(0, 2, (count,), generator=draws) if chance else torch.zeros(count, dtype=torch.int64)
    after = (state + 2 * action - 1 - slips).clamp(min=0)
    done = after == 7
    if after_end == "anew":
        after = torch.where(done, torch.randint(0, 7, (count,), generator=draws), after)
    if after_end == "cut":  # by time alone: what comes after is what would have come
        done = torch.rand(count, generator=draws) < 0.1
    order = done.int().argsort(stable=True)
    order = torch.cat([order[:64], order[64:][torch.randperm(count - 64, generator=draws)]])
    places = F.one_hot(state, 8).float(), action, torch.full((count,), -1.0), F.one_hot(after, 8).float(), done.float()
    return list(zip(*(t[order].split(64) for t in places), strict=True))


def of_actions(ends: bool, model: Any, batch: Any) -> Tensor:
    state, action, reward, after, done = batch
    with torch.no_grad():
        goal = reward + 0.9 * model["slow"](after).amax(dim=1) * (1 - done if ends else 1.0)
    return F.smooth_l1_loss(model["online"](state).gather(1, action[:, None]).squeeze(1), goal)


@pytest.mark.parametrize(
    ("after_end", "chance", "ends", "severity"),
    [
        ("anew", False, False, "warning"),
        ("anew", False, True, None),
        ("anew", True, False, "hint"),  # where chance decides what comes after, another state tells nothing
        ("goal", False, False, "warning"),  # the state itself tells that nothing comes after it
        ("cut", False, False, "hint"),
    ],
)
def test_ends_in_later_batches_of_several_models(after_end: str, chance: bool, ends: bool, severity: str | None) -> None:
    def body(model: Any, optimizer: Any, batch: Any) -> Tensor:
        loss = of_actions(ends, model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    batches = corridor(after_end, chance)
    assert not batches[0][-1].any()
    model = {"online": net(8, 2), "slow": net(8, 2)}
    optimizer = torch.optim.Adam(model["online"].parameters(), 1e-3)
    facts = facts_of_step(model, batches[0], step=body, optimizer=optimizer, batches=batches)
    assert facts is not None
    found = [f.severity for f in diagnose(Evidence(facts=facts)).findings if f.rule == "unread_ends"]
    assert found == ([] if severity is None else [severity])


def test_an_attention_of_one_key_chooses_nothing() -> None:
    def step(model: Any, batch: Any) -> Tensor:
        rows = batch[0][:, None]
        found = F.scaled_dot_product_attention(model[0](rows), model[1](rows), rows)
        return model[2](found.flatten(1)).square().mean()

    parts = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 1)])
    facts = asked(parts, step, (X,))
    assert facts.graph.lone_softmax
    assert set(facts.zero_gradient) >= {"0.weight", "1.weight"}


def test_a_reward_in_a_later_batch_is_found() -> None:
    quiet = (X, torch.zeros(64), X.roll(1, dims=0), torch.zeros(64))
    told = (X, (torch.arange(64) == 9).float(), X.roll(1, dims=0), torch.zeros(64))
    assert asked(Twin(), values(True), quiet, [quiet, quiet]).solved_by == pytest.approx(0.0, abs=1e-3)
    assert asked(Twin(), values(True), quiet, [quiet, told]).solved_by is None


def overlap(one: Tensor, other: Tensor) -> Tensor:
    low = torch.maximum(one[:, :2] - one[:, 2:] / 2, other[:, :2] - other[:, 2:] / 2)
    high = torch.minimum(one[:, :2] + one[:, 2:] / 2, other[:, :2] + other[:, 2:] / 2)
    both = (high - low).clamp(min=0).prod(dim=1)
    return both / (one[:, 2:].prod(dim=1) + other[:, 2:].prod(dim=1) - both)


def by_overlap(side: float, sign: float) -> Step:
    def step(model: Any, batch: Any) -> Tensor:
        gained = overlap(side * (0.5 + 0.1 * model(batch[0]).tanh()), batch[1])
        return (1 - gained).mean() if sign > 0 else -gained.mean()

    return step


def with_margin(model: Any, batch: Any) -> Tensor:
    """A hinge that is met by all examples: nothing is left to ask of them."""
    return (0.5 - (5 + model(batch[0])[:, 0].tanh())).clamp(min=0).mean()


@pytest.mark.parametrize(
    ("step", "share"),
    [(by_overlap(40.0, 1), 1.0), (by_overlap(40.0, -1), None), (by_overlap(1.0, 1), None), (with_margin, None)],
)
def test_a_term_that_is_at_its_worst_without_a_slope(step: Step, share: float | None) -> None:
    found = asked(net(6, 4), step, (X, BOXES)).flat_examples
    assert (found is None) if share is None else found == (share, 1.0)


def left_out(kind: str) -> Step:
    """Costs below zero, of few examples: the others are left out."""

    def step(model: Any, batch: Any) -> Tensor:
        x, _ = batch
        log_p = torch.log_softmax(model(x), dim=1)
        entropy, few = -(log_p.exp() * log_p).sum(dim=1), (torch.arange(len(x)) % 8 == 0).float()
        losses = {
            "reward": log_p[:, 0] * few,
            "mask": torch.where(few > 0, -entropy, 0.0),
            "masked": (-entropy).masked_fill(few == 0, 0.0),
            "column": -entropy[:, None] * few[:, None],
        }
        return losses[kind].mean()

    return step


@pytest.mark.parametrize("kind", ["reward", "mask", "masked", "column"])
def test_examples_that_are_left_out_need_no_slope(kind: str) -> None:
    assert asked(net(6, 4), left_out(kind), (X, BOXES)).flat_examples is None


def test_a_gradient_of_terms_that_cancel_is_rounding() -> None:
    def cancels(model: Any, batch: Any) -> Tensor:
        reward = batch[0][:, 0] - batch[0][:, 0].mean()
        return model(batch[0]).log_softmax(dim=1)[:, 0].mean() * reward.sum()

    def weighs(model: Any, batch: Any) -> Tensor:
        reward = batch[0][:, 0] - batch[0][:, 0].mean()
        return 1e-4 * (model(batch[0]).log_softmax(dim=1)[:, 0] * reward).mean()

    found = asked(net(6, 3), cancels, (X,)).rounded_gradient
    assert found is not None
    assert found[1] < 1e-6 * found[0]
    assert asked(net(6, 3), weighs, (X,)).rounded_gradient is None


class Bottle(nn.Module):
    """An autoencoder whose step calls its parts."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = net(6, 4), net(4, 6)


def bound(error: str, penalty: str, weight: float = 1.0) -> Step:
    def step(model: Any, batch: Any) -> Tensor:
        code = model.encoder(batch[0])
        size = code.square().sum() if penalty == "sum" else code.square().mean()
        return F.mse_loss(model.decoder(code), batch[0], reduction=error) + weight * size

    return step


@pytest.mark.parametrize(
    ("step", "fires"),
    [
        (bound("mean", "sum", 30.0), True),
        (bound("mean", "sum", 1e-3), False),
        (bound("sum", "sum", 30.0), False),
        (bound("mean", "mean", 30.0), False),
        (bound("sum", "mean", 1e-3), False),
    ],
)
def test_a_penalty_that_is_a_sum_beside_an_error_that_is_a_mean(step: Step, fires: bool) -> None:
    found = asked(Bottle(), step, (X,)).unequal_terms
    assert (found is not None and found[0] >= found[1]) is fires


def test_a_code_that_is_drawn_in_training_alone_has_the_same_terms() -> None:
    def step(model: Any, batch: Any) -> Tensor:
        code, size = model.encoder(batch[0]), model.log_variance(batch[0])
        drawn = code + torch.randn_like(code) * (size / 2).exp() if model.training else code
        divergence = -0.5 * (1 + size - code.square() - size.exp()).sum()
        return F.mse_loss(model.decoder(drawn), batch[0]) + divergence

    model = Bottle()
    model.log_variance = net(6, 4)
    found = asked(model, step, (X,)).unequal_terms
    assert found is not None
    assert found[0] >= found[1]


def told(number: Callable[[int], Tensor]) -> Step:
    def step(model: Any, batch: Any) -> Tensor:
        return F.mse_loss(model(batch[0], number(len(batch[0]))), batch[0])

    return step


class Conditioned(nn.Module):
    """A net of rows and a number for each."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net(7, 6)

    def forward(self, x: Tensor, number: Tensor) -> Tensor:
        """Rows (n, 6) and numbers (n,) to rows."""
        return self.inner(torch.cat([x, number[:, None]], dim=1))


@pytest.mark.parametrize(
    ("number", "fires"),
    [
        (lambda n: torch.full((n,), n) / 100, True),
        (lambda n: torch.full((n,), 0.7), False),
        (lambda n: torch.rand(1).expand(n), False),
        (lambda n: torch.arange(n) / n, False),
    ],
)
def test_a_condition_that_counts_the_examples(number: Callable[[int], Tensor], fires: bool) -> None:
    found = asked(Conditioned(), told(number), (X,)).counted_condition
    assert (found is not None) is fires
    if found is not None:
        assert found == ("1", pytest.approx(0.64))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda x: (x - x.amin(1, True)) / (x.amax(1, True) - x.amin(1, True)), "extremes"),
        (lambda x: (x - x.mean(1, True)) / x.std(1, keepdim=True), "deviation"),
        (lambda x: (x - x.mean(0)) / x.std(0), None),
        (lambda x: (x > 0).float(), None),
    ],
)
def test_rows_that_are_scaled_each_by_itself(change: Callable[[Tensor], Tensor], found: str | None) -> None:
    assert scaled_by_themselves(change(3 + torch.randn(32, 12, generator=torch.Generator().manual_seed(1)))) == found


@pytest.mark.parametrize(("narrow", "noise", "found"), [(16, 0.0, True), (4, 0.0, False), (16, 0.5, False)])
def test_a_model_that_can_copy_what_it_is_asked_for(narrow: int, noise: float, found: bool) -> None:
    model = nn.Sequential(nn.Linear(6, narrow), nn.ReLU(), nn.Linear(narrow, 6))
    assert facts_of(model, (X + noise * X.roll(1, dims=0), X), loss_fn=F.mse_loss).can_copy is found


class Named(nn.Module):
    """Rows with a class beside them, or rows alone; `still` starts the layer that is told the class at zero."""

    def __init__(self, inside: int, out: int, *, told: bool = True, still: bool = False) -> None:
        super().__init__()
        self.inner, self.name, self.told = net(inside, out), nn.Embedding(3, out), told
        if still:
            nn.init.zeros_(self.name.weight)

    def forward(self, x: Tensor, name: Tensor) -> Tensor:
        """Rows (n, inside) and classes (n,) to (n, out)."""
        return self.inner(x) + (self.name(name) if self.told else 0.0)


def plays(*, names: bool = False) -> Callable[..., Tensor]:
    """A game whose judge is given classes, and whose maker is also held against rows of its own where `names` says so."""

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        rows, name = batch
        wish = name if not names else torch.randint(3, (len(rows),))
        made = model["maker"](torch.randn(len(rows), 4), wish)
        optimizer["judge"].zero_grad()
        loss = F.softplus(-model["judge"](rows, name)).mean() + F.softplus(model["judge"](made.detach(), wish)).mean()
        loss.backward()
        optimizer["judge"].step()
        optimizer["maker"].zero_grad()
        fooled = F.softplus(-model["judge"](made, wish)).mean()
        (fooled + F.cross_entropy(made[:, :3], wish) if names else fooled).backward()
        optimizer["maker"].step()
        return loss

    return step


@pytest.mark.parametrize(
    ("judge", "maker", "step", "found"),
    [
        ({"told": False}, {}, plays(), (1, 0)),
        ({}, {}, plays(), None),
        ({"still": True}, {}, plays(), None),
        ({"told": False}, {"told": False}, plays(), None),
        ({"told": False}, {}, plays(names=True), None),
    ],
)
def test_classes_that_no_loss_goes_by(judge: dict, maker: dict, step: Callable[..., Tensor], found: Any) -> None:
    models = {"maker": Named(4, 6, **maker), "judge": Named(6, 1, **judge)}
    optimizers = {name: torch.optim.Adam(model.parameters()) for name, model in models.items()}
    before = [p.detach().clone() for model in models.values() for p in model.parameters()]
    assert unasked_for(models, optimizers, step, (X, torch.arange(64) % 3)) == found
    assert all(torch.equal(a, b) for a, b in zip(before, (p for m in models.values() for p in m.parameters()), strict=True))
