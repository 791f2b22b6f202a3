"""Terms of a loss that have the wrong sign: of learned variances, of ends that were not seen, and of names."""

import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rule_examples import fact
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import diagnose
from trainability.doctor.facts import Facts
from trainability.doctor.measure import negatives
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.pair_facts import Company

RNG = torch.Generator().manual_seed(0)
X = torch.randn(64, 6, generator=RNG)
Y = X[:, :1] * X[:, 1:2] + 0.3 * torch.randn(64, 1, generator=RNG)
Step = Callable[[Any, Any], Tensor]


def net(outputs: int = 1, inputs: int = 6) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, outputs))


def codes(facts: Facts) -> list[str]:
    found = {f.name: getattr(facts, f.name) for f in facts.__dataclass_fields__.values()}
    return [f.code for f in diagnose(fact(**found)).findings if f.severity != "hint"]


class Weighing(nn.Module):
    """A net with a number of its own beside it."""

    def __init__(self, outputs: int = 1, start: float = 0.0) -> None:
        super().__init__()
        self.net, self.scale = net(outputs), nn.Parameter(torch.full((1,), start))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def one_variance(sign: float) -> Step:
    return lambda m, b: (F.mse_loss(m(b[0]), b[1]) * (-m.scale).exp() + sign * m.scale).sum()


def absolute(sign: float) -> Step:
    return lambda m, b: ((m(b[0]) - b[1]).abs().mean() / F.softplus(m.scale) + sign * F.softplus(m.scale).log()).sum()


def each_its_own(sign: float) -> Step:
    def step(model: nn.Module, batch: Any) -> Tensor:
        mean, log_variance = model(batch[0]).chunk(2, dim=1)
        return (0.5 * (batch[1] - mean).square() * (-log_variance).exp() + sign * 0.5 * log_variance).mean()

    return step


def of_laplace(sign: float) -> Step:
    def step(model: nn.Module, batch: Any) -> Tensor:
        mean, log_width = model(batch[0]).unbind(dim=1)
        return ((batch[1][:, 0] - mean).abs() / log_width.exp() + sign * log_width).sum()

    return step


def of_returns(sign: float) -> Step:
    """The volatility of what has a mean of zero: its logarithm is all that is put out."""

    def step(model: nn.Module, batch: Any) -> Tensor:
        log_variance = model(batch[0])[:, 0]
        return 0.5 * (batch[1][:, 0].square() * (-log_variance).exp() + sign * log_variance).mean()

    return step


VARIANCES: dict[str, tuple[Callable[[float], Step], Callable[[], nn.Module]]] = {
    "one for all": (one_variance, Weighing),
    "one width, by softplus": (absolute, Weighing),
    "one for each": (each_its_own, lambda: net(2)),
    "a width for each, summed": (of_laplace, lambda: net(2)),
    "nothing else": (of_returns, net),
}


@pytest.mark.parametrize("name", VARIANCES)
def test_a_variance_whose_cost_is_subtracted(name: str) -> None:
    make, model = VARIANCES[name]
    wrong, right = (facts_of(model(), (X, Y), training_step=make(sign)) for sign in (-1.0, 1.0))
    assert "wrong_sign.boundless" in codes(wrong)
    assert wrong.boundless_rest is not None
    assert 0 <= wrong.boundless_rest < 1e-3
    assert (right.boundless, right.boundless_rest) == (None, None)
    assert not any(code.startswith("wrong_sign") for code in codes(right))


def policy(model: Any, batch: Any) -> Tensor:
    """A Gaussian policy with a spread of its own, and a bonus for it."""
    chances = torch.distributions.Normal(model(batch[0]), model.scale.exp())
    return -(chances.log_prob(batch[1]) * batch[2]).mean() - 0.02 * chances.entropy().mean()


def critic(model: Any, batch: Any) -> Tensor:
    return model(batch[0] + 1).mean() - model(batch[0]).mean()


def flow(model: Any, batch: Any) -> Tensor:
    at, log_width = model(batch[0]).unbind(dim=1)
    return (0.5 * at.square() - 0.1 * log_width.tanh() + 0.5 * (log_width - 1).square()).mean()


def drawn(model: Any, batch: Any) -> Tensor:
    """A soft actor: what it draws has a value, and a bonus for its spread."""
    mean, log_spread = model(batch[0]).unbind(dim=1)
    return (mean + log_spread.exp() * torch.randn(len(mean)) - 1).tanh().square().mean() - 0.3 * log_spread.mean()


SOUND: dict[str, tuple[Step, Callable[[], nn.Module]]] = {
    "a policy": (policy, Weighing),
    "a critic": (critic, net),
    "a flow": (flow, lambda: net(2)),
    "a position": (lambda m, b: -(m(b[0]) * b[1]).mean(), net),
    "a chance of what pays": (lambda m, b: -(m(b[0]).sigmoid() * b[1]).mean(), net),
    "counts": (lambda m, b: (m(b[0]).exp() - b[1].abs() * m(b[0])).mean(), net),
    "a pull to one side": (lambda m, b: (b[1].square() * F.softplus(-m(b[0]))).mean() - m(b[0]).tanh().mean(), net),
    "an actor that draws": (drawn, lambda: net(2)),
    "a temperature": (lambda m, b: F.cross_entropy(m(b[0]) * m.scale.exp(), (b[1][:, 0] > 0).long()), lambda: Weighing(2)),
}


@pytest.mark.parametrize("name", SOUND)
def test_what_may_fall_without_a_variance_is_left_alone(name: str) -> None:
    step, model = SOUND[name]
    facts = facts_of(model(), (X, Y, torch.randn(64, 1, generator=RNG)), training_step=step)
    assert facts.notes == ()
    assert facts.boundless is None
    assert facts.floorless is None


def of_normal(output: Tensor, target: Tensor) -> Tensor:
    mean, log_spread = output.chunk(2, dim=1)
    return torch.distributions.Normal(mean, log_spread.exp(), validate_args=False).log_prob(target).mean()


def of_counts(output: Tensor, target: Tensor) -> Tensor:
    return torch.distributions.Poisson(output.exp(), validate_args=False).log_prob(target.abs().round()).mean()


def of_student(output: Tensor, target: Tensor) -> Tensor:
    mean, log_scale = output.chunk(2, dim=1)
    z = (target - mean) * (-log_scale).exp()
    return (-2 * torch.log1p(z.square() / 3) - log_scale).mean()


@pytest.mark.parametrize(("likelihood", "outputs"), [(of_normal, 2), (of_counts, 1)])
def test_a_log_likelihood_that_is_minimised(likelihood: Any, outputs: int) -> None:
    wrong = facts_of(net(outputs), (4 * X, Y), loss_fn=likelihood)
    right = facts_of(net(outputs), (4 * X, Y), loss_fn=lambda o, t: -likelihood(o, t))
    assert codes(wrong)[0].startswith("wrong_sign")
    assert right.floorless is None
    assert right.boundless is None
    assert (wrong.boundless_rest is None) == (wrong.boundless is None)  # of counts: floorless
    assert 0 <= (wrong.boundless_rest or 0.0) < 1e-3
    assert right.boundless_rest is None


def lives(n: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(n, 6, generator=rng)
    time = -torch.rand(n, generator=rng).clamp(min=1e-4).log() * (-x[:, 0]).exp()
    seen = torch.rand(n, generator=rng) < 0.6
    return x, torch.where(seen, time, time * torch.rand(n, generator=rng)), seen.float()


def by_sets(of_the_gone: bool) -> Step:
    """Cox's likelihood, with a matrix of who is at risk."""

    def step(model: nn.Module, batch: Any) -> Tensor:
        x, time, seen = batch
        at_risk = time[None] <= time[:, None] if of_the_gone else time[None] >= time[:, None]
        risk = model(x)[:, 0]
        return -((risk - torch.logsumexp(risk[None].masked_fill(~at_risk, -math.inf), dim=1)) * seen).sum() / seen.sum()

    return step


def by_pairs(of_the_gone: bool) -> Step:
    """Whoever dies is to have a higher risk than whoever is still there."""

    def step(model: nn.Module, batch: Any) -> Tensor:
        x, time, seen = batch
        comparable = ((time[:, None] > time[None]) if of_the_gone else (time[:, None] < time[None])) & (seen[:, None] > 0)
        risk = model(x)[:, 0]
        return (F.softplus(risk[None] - risk[:, None]) * comparable).sum() / comparable.sum()

    return step


@pytest.mark.parametrize("make", [by_sets, by_pairs])
def test_those_at_risk_are_those_still_there(make: Any) -> None:
    assert codes(facts_of(net(), lives(), training_step=make(True)))[:1] == ["wrong_sign.censored"]
    assert facts_of(net(), lives(), training_step=make(False)).censored is None


@pytest.mark.parametrize("make", [by_sets, by_pairs])
@pytest.mark.parametrize("of_the_gone", [True, False])
def test_a_mark_may_say_that_the_end_was_not_seen(make: Any, of_the_gone: bool) -> None:
    x, time, seen = lives()

    def step(model: Any, batch: Any) -> Tensor:
        return make(of_the_gone)(model, (batch[0], batch[1], 1 - batch[2]))

    assert (facts_of(net(), (x, time, 1 - seen), training_step=step).censored is not None) == of_the_gone


def of_exponential(model: Any, batch: Any) -> Tensor:
    x, time, seen = batch
    rate = model(x)[:, 0]
    return (time * rate.exp() - seen * rate).mean()


def weighed(model: Any, batch: Any) -> Tensor:
    return ((1 + 3 * batch[2]) * (model(batch[0])[:, 0] - batch[1]).square()).mean()


def masked(model: Any, batch: Any) -> Tensor:
    return (batch[2] * (model(batch[0])[:, 0] - batch[1]).square()).mean()


def too_soon(model: Any, batch: Any) -> Tensor:
    gap = batch[1] - model(batch[0])[:, 0]
    return torch.where(batch[2] > 0, gap, gap.relu()).abs().mean()


def two_arms(model: Any, batch: Any) -> Tensor:
    """One answer with and one without a treatment."""
    return (model(batch[0]).gather(1, batch[2].long()[:, None])[:, 0] - batch[1]).square().mean()


@pytest.mark.parametrize("step", [of_exponential, weighed, masked, too_soon, two_arms])
def test_marks_beside_numbers_need_not_be_ends(step: Step) -> None:
    assert facts_of(net(2 if step is two_arms else 1), lives(), training_step=step).censored is None


def packed(step: Step, end_first: bool) -> Step:
    """Time and end in the columns of one tensor."""

    def asked(model: Any, batch: Any) -> Tensor:
        x, y = batch
        return step(model, (x, y[:, 1], y[:, 0]) if end_first else (x, y[:, 0], y[:, 1]))

    return asked


@pytest.mark.parametrize("end_first", [True, False])
def test_time_and_end_may_be_columns_of_one_tensor(end_first: bool) -> None:
    x, time, seen = lives()
    batch = x, torch.stack([seen, time] if end_first else [time, seen], 1)
    for make in (by_sets, by_pairs):
        assert codes(facts_of(net(), batch, training_step=packed(make(True), end_first)))[:1] == ["wrong_sign.censored"]
        assert facts_of(net(), batch, training_step=packed(make(False), end_first)).censored is None
    for step in (of_exponential, weighed, masked, too_soon):
        assert facts_of(net(), batch, training_step=packed(step, end_first)).censored is None


def two_answers(model: Any, batch: Any) -> Tensor:
    """Whether something is bought, and for how much."""
    out, time, mark = model(batch[0]), batch[1], batch[2]
    return (out[:, 0] - time).square().mean() + F.binary_cross_entropy_with_logits(out[:, 1], mark)


def hurdle(model: Any, batch: Any) -> Tensor:
    """The same, where the amount counts for those who buy alone."""
    out, time, mark = model(batch[0]), batch[1], batch[2]
    return (mark * (out[:, 0] - time).square()).mean() + F.binary_cross_entropy_with_logits(out[:, 1], mark)


@pytest.mark.parametrize("step", [two_answers, hurdle])
def test_two_targets_in_one_tensor_are_no_time_and_end(step: Step) -> None:
    x, time, seen = lives()
    assert facts_of(net(2), (x, torch.stack([time, seen], 1)), training_step=packed(step, end_first=False)).censored is None


def company_of(
    step: Step, negatives: int = 0, *, drawn_from: str = "all", deep: bool = False
) -> tuple[Company | None, list[str]]:
    """Names of 60 and of 40, in four circles each; who is observed with whom is of one circle."""
    rng = torch.Generator().manual_seed(2)
    one = torch.randint(60, (1200,), generator=rng)
    observed = 4 * torch.randint(10, (1200,), generator=rng) + one % 4
    shape = (1200, negatives) if negatives else (1200,)
    drawn = torch.randint(40, shape, generator=rng)
    if drawn_from != "all":
        drawn = 4 * (drawn // 4) + (one + (drawn_from == "another circle")) % 4
    batches = [[t[i : i + 100] for t in (one, observed, drawn)] for i in range(0, 1200, 100)]
    torch.manual_seed(0)
    towers = [[nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8)] if deep else [] for _ in range(2)]
    model = nn.ModuleDict(
        {"one": nn.Sequential(nn.Embedding(60, 8), *towers[0]), "other": nn.Sequential(nn.Embedding(40, 8), *towers[1])}
    )
    facts = facts_of(model, batches[0], training_step=step, batches=batches)
    return facts.company, codes(facts)


def ranked(sign: float) -> Step:
    def step(model: Any, batch: Any) -> Tensor:
        one, observed, drawn = model["one"](batch[0]), model["other"](batch[1]), model["other"](batch[2])
        return F.softplus(-sign * ((one * observed).sum(dim=1) - (one * drawn).sum(dim=1))).mean()

    return step


def skips(sign: float) -> Step:
    """Skip-gram with several drawn names for each observed one."""

    def step(model: Any, batch: Any) -> Tensor:
        one, observed, drawn = model["one"](batch[0]), model["other"](batch[1]), model["other"](batch[2])
        near, far = (one * observed).sum(dim=1), (one[:, None] * drawn).sum(dim=2)
        return F.softplus(-sign * near).mean() + F.softplus(sign * far).mean()

    return step


def distances(sign: float) -> Step:
    def step(model: Any, batch: Any) -> Tensor:
        one, observed, drawn = model["one"](batch[0]), model["other"](batch[1]), model["other"](batch[2])
        return (1 + sign * ((one - observed).norm(dim=1) - (one - drawn).norm(dim=1))).relu().mean()

    return step


@pytest.mark.parametrize(
    ("make", "negatives", "deep"), [(ranked, 0, False), (skips, 5, False), (distances, 0, False), (ranked, 0, True)]
)
def test_what_was_observed_keeps_company(make: Any, negatives: int, deep: bool) -> None:
    company, said = company_of(make(-1.0), negatives, deep=deep)
    assert company is not None
    assert company.pushed > 3 * abs(company.pulled)
    assert said == ["wrong_sign.company"]
    company, said = company_of(make(1.0), negatives, deep=deep)
    assert company is not None
    assert company.pulled > 3 * abs(company.pushed)
    assert said == []


def test_reading_for_company_ends_after_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which each batch takes 0.5 s to read."""
    read = 0
    rng = torch.Generator().manual_seed(3)

    def batch() -> list[Tensor]:
        return [torch.randint(40, (100,), generator=rng) for _ in range(3)]

    def endless() -> Iterator[list[Tensor]]:
        nonlocal read
        while True:
            read += 1
            yield batch()

    monkeypatch.setattr(negatives, "time", SimpleNamespace(monotonic=lambda: 0.5 * read))
    model = nn.ModuleDict({name: nn.Embedding(40, 8) for name in ("one", "other")})
    found = negatives.company(model, batch(), ranked(1.0), endless())
    assert found is not None
    assert read == 5
    assert found.num_pairs == 500


def test_two_kinds_of_pairs_that_both_keep_company_are_not_told_apart() -> None:
    company, said = company_of(ranked(1.0), drawn_from="another circle")
    assert company is not None
    assert min(company.pulled, company.pushed) > 10
    assert company.pushed_too[0] == 0
    assert said == []


def test_names_that_are_drawn_among_the_observed_ones_are_told() -> None:
    company, said = company_of(ranked(1.0), drawn_from="its own circle")
    assert company is not None
    assert company.pushed_too == pytest.approx((0.86, 0.22), abs=0.05)  # 1,200 of 600 pairs; a quarter by chance
    assert said == ["wrong_sign.observed"]
