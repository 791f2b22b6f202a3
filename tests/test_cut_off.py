"""What one pass, or a few steps, show of distributions, derivatives, tokens and weights: each mistake beside its sound twin."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, Normal
from torch.nn import functional as F

from trainability.doctor import Monitor
from trainability.doctor.facts import Facts
from trainability.doctor.measure.bodies import look_at_body
from trainability.doctor.measure.facts import look
from trainability.doctor.measure.preferred import floorless
from trainability.doctor.measure.rehearsal import rehearse

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randint(0, 12, (16, 10), generator=torch.Generator().manual_seed(0))
SMALL = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))


def looked(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> Facts:
    torch.manual_seed(0)
    return look(model, batch, forward)


# ------------------------------------------------------------------------------------------------- policy gradients


def by_distribution(logits: Tensor, action: Tensor, advantage: Tensor) -> Tensor:
    return -(Categorical(logits=logits).log_prob(action) * advantage).mean()


def by_ratio(logits: Tensor, action: Tensor, advantage: Tensor) -> Tensor:
    new = logits.log_softmax(dim=1).gather(1, action[:, None]).squeeze(1)
    ratio = (new - new.detach()).exp()
    return torch.max(-advantage * ratio, -advantage * ratio.clamp(0.8, 1.2)).mean()


def by_cross_entropy(logits: Tensor, action: Tensor, advantage: Tensor) -> Tensor:
    return (F.cross_entropy(logits, action, reduction="none") * advantage).mean()


def policy(loss: Callable[[Tensor, Tensor, Tensor], Tensor], sign: float) -> Callable[[Any, Any], Tensor]:
    def forward(model: Any, batch: Tensor) -> Tensor:
        logits = model(batch)
        action = torch.arange(64) % 4
        reward = batch[:, 0] * (action == 1) + batch[:, 1]
        advantage = reward - reward.mean()
        return sign * loss(logits, action, advantage)

    return forward


@pytest.mark.parametrize("loss", [by_distribution, by_ratio, by_cross_entropy])
def test_a_policy_gradient_that_goes_down_is_told_by_the_name_of_its_weight(loss: Any) -> None:
    right, wrong = (looked(SMALL, X, policy(loss, sign)).lowered for sign in (1.0, -1.0))
    assert right is None
    assert wrong is not None
    assert wrong[0] in ("advantage", "reward")
    assert wrong[1] > 0.99


def test_a_weight_whose_name_says_nothing_is_not_judged() -> None:
    def forward(model: Any, batch: Tensor) -> Tensor:
        action, cost = torch.arange(64) % 4, batch[:, 0]
        return (Categorical(logits=model(batch)).log_prob(action) * cost).mean()

    assert looked(SMALL, X, forward).lowered is None


# ------------------------------------------------------------------------------------------------------------ draws


HOW = ["sample", "rsample", "sample and log_prob", "torch.normal", "several as one", "several as one, made again", "clamped"]


@pytest.mark.parametrize("how", HOW)
def test_a_draw_without_a_gradient_is_told_unless_its_probability_is_asked(how: str) -> None:
    def forward(model: Any, batch: Tensor) -> Tensor:
        mean, log_std = model(batch).chunk(2, dim=1)
        chosen, code = Normal(mean, log_std.exp()), torch.empty(0)
        if how.startswith("several"):
            policy = Independent(chosen, 1)
            code = policy.sample()
            policy = Independent(Normal(mean, log_std.exp()), 1) if how.endswith("again") else policy
            return (policy.log_prob(code) * (code - batch[:, :2]).square().sum(dim=1)).mean()
        if how == "torch.normal":
            code = torch.normal(mean, log_std.exp())
        else:
            code = chosen.rsample() if how == "rsample" else chosen.sample()
        cost = (code - batch[:, :2]).square().sum(dim=1)
        if how in ("sample and log_prob", "clamped"):
            code = code.clamp(-1, 1) if how == "clamped" else code
            return (chosen.log_prob(code).sum(dim=1) * cost).mean()
        return cost.mean() + mean.square().mean()

    told = {"sample": "Normal", "torch.normal": "torch.normal"}
    assert looked(SMALL, X, forward).drawn == told.get(how)


def test_the_distributions_are_as_they_were() -> None:
    before = Normal.sample, Normal.log_prob, torch.autograd.grad
    looked(SMALL, X, lambda model, batch: model(batch).square().mean())
    assert before == (Normal.sample, Normal.log_prob, torch.autograd.grad)


# ------------------------------------------------------------------------------------------------------ derivatives


@pytest.mark.parametrize(("active", "order", "flat"), [(nn.ReLU, 2, True), (nn.Tanh, 2, False), (nn.ReLU, 1, False)])
def test_the_second_derivative_of_relu_is_flat(active: type[nn.Module], order: int, flat: bool) -> None:
    model = nn.Sequential(nn.Linear(4, 8), active(), nn.Linear(8, 1))

    def forward(model: Any, batch: Tensor) -> Tensor:
        at = batch.clone().requires_grad_()
        value = model(at)
        for _ in range(order):
            value = torch.autograd.grad(value.sum(), at, create_graph=True)[0]
        return (value + model(at)).square().mean()

    assert looked(model, X, forward).flat_derivative is flat


# ----------------------------------------------------------------------------------------------------------- tokens


class Reader(nn.Module):
    """Each token with the mean of what it may see."""

    def __init__(self, *, causal: bool) -> None:
        super().__init__()
        self.words, self.head, self.causal = nn.Embedding(12, 8), nn.Linear(8, 12), causal

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.words(tokens)
        mean = h.cumsum(dim=1) / torch.arange(1, tokens.shape[1] + 1)[:, None] if self.causal else h.mean(dim=1, keepdim=True)
        return self.head(h + mean)


def next_inside(model: Any, batch: dict[str, Tensor]) -> Tensor:
    logits = model(batch["input_ids"])
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), label_smoothing=0.1)


def next_of_one_tensor(model: Any, batch: Tensor) -> Tensor:
    return F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())


def itself(model: Any, batch: Tensor) -> Tensor:
    return F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, :-1].flatten())


@pytest.mark.parametrize(
    ("batch", "forward"), [({"input_ids": TOKENS, "labels": TOKENS}, next_inside), (TOKENS, next_of_one_tensor)]
)
def test_tokens_that_are_asked_for_the_next_one_must_not_see_it(batch: Any, forward: Any) -> None:
    future = looked(Reader(causal=False), batch, forward).future
    assert future is not None
    assert future > 0.01
    assert looked(Reader(causal=True), batch, forward).future == 0.0


def test_tokens_that_are_asked_for_themselves_are_not_shifted() -> None:
    assert looked(Reader(causal=True), TOKENS, itself).unshifted
    assert not looked(Reader(causal=True), TOKENS, next_of_one_tensor).unshifted


@pytest.mark.parametrize(("first", "behind", "shift"), [(1, 0, -1), (0, 2, 2)])
def test_targets_that_are_shifted_backward_or_twice_are_told(first: int, behind: int, shift: int) -> None:
    def forward(model: Any, batch: Tensor) -> Tensor:
        length = batch.shape[1] - 2
        logits = model(batch[:, first : first + length])
        return F.cross_entropy(logits.flatten(0, 1), batch[:, behind : behind + length].flatten())

    assert looked(Reader(causal=True), TOKENS, forward).shifted_by == shift
    assert looked(Reader(causal=True), TOKENS, next_of_one_tensor).shifted_by is None


def test_labels_that_data_and_loss_shift_are_shifted_twice() -> None:
    batch = {"input_ids": TOKENS[:, :-1], "labels": TOKENS[:, 1:]}
    assert looked(Reader(causal=True), batch, next_inside).shifted_by == 2


@pytest.mark.parametrize(
    ("last", "log_input", "twice"),
    [
        (F.softplus, True, "softplus"),
        (F.softplus, False, None),
        (lambda x: F.softplus(x) + 1e-6, True, "softplus"),
        (torch.exp, True, "exp"),
        (torch.sigmoid, True, "sigmoid"),
        (lambda x: F.softplus(x) - 9.0, True, None),  # a logarithm that is bounded below
        (lambda x: F.softplus(x).log(), True, None),
        (lambda x: F.softplus(x) + 0 * x, True, None),
        (lambda x: 3 * torch.tanh(x), True, None),
        (lambda x: x, True, None),
    ],
)
@pytest.mark.parametrize("is_row", [False, True])
def test_rates_that_are_taken_for_their_logarithms_are_told(
    last: Any, log_input: bool, twice: str | None, is_row: bool
) -> None:
    class Rates(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            rates = last(self.layer(x))
            return rates.squeeze(1) if is_row else rates

    model, counts = Rates(), X[:, 0].abs().round() if is_row else X[:, :1].abs().round()
    loss = nn.PoissonNLLLoss(log_input=log_input)
    assert looked(model, (X, counts), lambda m, b: loss(m(b[0]), b[1])).rates_twice == twice

    monitor = Monitor(model, every=1)
    with monitor:
        cost = loss(model(X), counts)
        cost.backward()
        monitor.after_backward(cost)
    found = [f.code for f in monitor.diagnose().findings]
    is_last = twice is not None and last in (F.softplus, torch.exp, torch.sigmoid)  # of a sum Monitor knows no function
    assert ("softmax_twice.exp" in found) == is_last


# ---------------------------------------------------------------------------------------------------------- columns


@pytest.mark.parametrize("squeezed", [False, True])
def test_a_column_against_a_row_is_seen_in_a_body_of_several_models(squeezed: bool) -> None:
    models = {"actor": nn.Linear(4, 2), "critic": nn.Linear(4, 1)}
    optimizers = {name: torch.optim.SGD(model.parameters(), lr=0.1) for name, model in models.items()}

    def step(model: Any, optimizer: Any, batch: Tensor) -> Tensor:
        value = model["critic"](batch)
        loss = (batch[:, 0] - (value[:, 0] if squeezed else value)).square().mean()
        loss.backward()
        optimizer["critic"].step()
        return loss

    found = look_at_body(models, optimizers, step, [X])
    assert found is not None
    assert found.get("broadcast_shape") == (None if squeezed else (64, 64))


@pytest.mark.parametrize(("column", "told"), [(1.7e9 + 2e7 * X[:, 0], True), (X[:, 0], False)])
def test_a_loud_column_beside_an_embedding_is_told_by_the_batch(column: Tensor, told: bool) -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kinds, self.head = nn.Embedding(5, 6), nn.Linear(10, 1)

        def forward(self, kind: Tensor, x: Tensor) -> Tensor:
            return self.head(torch.cat([self.kinds(kind), x], dim=1))

    batch = (torch.arange(64) % 5, torch.cat([X[:, :3], column[:, None]], dim=1), X[:, :1])
    found = looked(Beside(), batch, lambda model, b: F.mse_loss(model(b[0], b[1]), b[2])).loud_column
    assert (found is not None and found[:2] == ("head", 9)) is told


@pytest.mark.parametrize(("sizes", "told"), [((2e4, 150.0, 120.0, 18.0, 3.0), True), ((2e4, 900.0, 800.0, 700.0, 3.0), False)])
def test_a_loud_column_among_others_that_are_not_scaled_either(sizes: tuple[float, ...], told: bool) -> None:
    """Numbers that the model holds, of the nodes of a graph, and that it averages over neighbours."""

    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("x", torch.randn(64, len(sizes)) * torch.tensor(sizes))
            self.register_buffer("edges", torch.eye(64) + 0.1)
            self.first = nn.Linear(len(sizes), 2)

        def forward(self, nodes: Tensor) -> Tensor:
            return self.first(self.edges @ self.x)[nodes]

    batch = (torch.arange(32), torch.arange(32) % 2)
    found = looked(Graph(), batch, lambda model, b: F.cross_entropy(model(b[0]), b[1])).loud_column
    assert (found is not None and found[:2] == ("first", 0)) is told


# ---------------------------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize(
    ("change", "redrawn"),
    [
        (lambda w: nn.init.xavier_uniform_(w), ("0.weight",)),
        (lambda w: w.clamp_(-0.2, 0.2), ()),  # as a critic's
        (lambda w: w.div_(w.norm(dim=1, keepdim=True)), ()),
    ],
)
def test_weights_that_are_drawn_anew_are_told_from_those_that_are_kept_in_limits(change: Any, redrawn: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def step(model: Any, optimizer: Any, batch: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = (model(batch)[:, 0] - batch[:, 1]).square().mean()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            change(model[0].weight)
        return loss

    seen = rehearse(model, torch.optim.Adam(model.parameters(), 1e-2), [X] * 8, step=step, max_steps=8)
    assert seen.redrawn == redrawn


@pytest.mark.parametrize(("limit", "found"), [(0.01, True), (0.2, True), (5.0, False), (None, False)])
def test_weights_that_a_loop_cuts_off_are_told_with_their_limit(limit: float | None, found: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def step(model: Any, optimizer: Any, batch: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(model(batch)[:, 0], batch[:, 1])
        loss.backward()
        for p in model.parameters():
            p.grad.clamp_(-0.5, 0.5)
        optimizer.step()
        for p in model.parameters() if limit is not None else ():
            p.data.clamp_(-limit, limit)
        return loss

    cut = rehearse(model, torch.optim.Adam(model.parameters(), 1e-2), [X] * 8, step=step, max_steps=8).cut_off
    assert (cut is not None) is found
    if cut is not None:
        assert cut[0] == ("0.weight", "2.weight")
        assert cut[1] == pytest.approx(limit)
        assert cut[2] >= 0.25


def test_a_perturbation_that_is_cut_off_has_a_limit_of_its_own() -> None:
    torch.manual_seed(0)

    class Attacked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.delta = nn.Linear(4, 1).requires_grad_(False), nn.Parameter(torch.zeros(16, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x + self.delta[: len(x)])

    model = Attacked()

    def step(model: Any, optimizer: Any, batch: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(model(batch)[:, 0], 9 * batch[:, 1])
        loss.backward()
        optimizer.step()
        model.delta.data.clamp_(-0.01, 0.01)
        return loss

    assert rehearse(model, torch.optim.Adam([model.delta], 1e-2), [X[:16]] * 8, step=step, max_steps=8).cut_off is None


@pytest.mark.parametrize("std", [None, 1.0])
def test_the_gain_of_recurrent_weights_is_measured(std: float | None) -> None:
    model = nn.LSTM(4, 64, batch_first=True)
    if std is not None:
        nn.init.normal_(model.get_parameter("weight_hh_l0"), 0.0, std)
    found = looked(model, X[:, None].expand(-1, 5, -1), lambda m, b: m(b)[0].square().mean()).recurrence
    assert found is not None
    assert found[0] == ""
    assert found[1] == pytest.approx(3**-0.5 if std is None else 8 * std, rel=0.05)


@pytest.mark.parametrize(("kind", "bias"), [(nn.LSTM, -4.0), (nn.LSTM, 1.0), (nn.GRU, -3.0)])
def test_what_the_gates_keep_of_a_state_is_read_off_their_biases(kind: type, bias: float) -> None:
    model = kind(4, 64, batch_first=True)
    with torch.no_grad():
        for name in ("bias_ih_l0", "bias_hh_l0"):
            model.get_parameter(name).zero_()[64:128] = bias / 2
    found = looked(model, X[:, None].expand(-1, 5, -1), lambda m, b: m(b)[0].square().mean()).kept_by_gates
    assert found == ("", pytest.approx(1 / (1 + math.exp(-bias))))
    reset = looked(kind(4, 64, batch_first=True), X[:, None].expand(-1, 5, -1), lambda m, b: m(b)[0].square().mean())
    assert reset.kept_by_gates == ("", pytest.approx(0.5, abs=0.05))


def test_recurrent_weights_that_are_computed_have_no_gain_of_their_own() -> None:
    model = nn.LSTM(4, 8, batch_first=True)
    nn.utils.parametrizations.orthogonal(model, "weight_hh_l0")
    found = looked(model, X[:, None].expand(-1, 5, -1), lambda m, b: m(b)[0].square().mean())
    assert (found.recurrence, found.notes) == (None, ())


# ---------------------------------------------------------------------------------------------------- made targets


@pytest.mark.parametrize(("sees", "related"), [("noisy", True), ("clean", False)])
def test_noise_that_the_step_adds_and_asks_for_is_related_to_what_the_model_is_shown(sees: str, related: bool) -> None:
    def forward(model: Any, batch: Tensor) -> Tensor:
        noise = torch.randn_like(batch)
        return F.mse_loss(model(batch + noise if sees == "noisy" else batch), noise)

    torch.manual_seed(0)
    wide = torch.randn(256, 4)
    found = look(SMALL, X, forward, wide=wide).made_relation
    assert found is not None
    assert found[0] == 256
    assert (found[1] > 3.5) is related


def test_a_value_that_is_picked_from_the_outputs_is_not_compared_with_what_the_model_is_given() -> None:
    def forward(model: Any, batch: Tensor) -> Tensor:
        action = torch.randint(4, (len(batch), 1))
        return F.mse_loss(model(batch).gather(1, action), (action == 1).float())

    assert look(SMALL, X, forward, wide=torch.randn(256, 4)).made_relation is None


# ---------------------------------------------------------------------------------------------- examples and targets

LABELS = torch.arange(64) % 4
VALUES = X[:, :1] * X[:, 1:2]


def as_they_are(model: Any, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def rolled(model: Any, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1].roll(1))


def both_in_another_order(model: Any, batch: Any) -> Tensor:
    order = torch.randperm(len(batch[0]))
    return F.cross_entropy(model(batch[0][order]), batch[1][order])


def mixed(model: Any, batch: Any) -> Tensor:
    order = torch.randperm(len(batch[0]))
    logits = model(0.7 * batch[0] + 0.3 * batch[0][order])
    return 0.7 * F.cross_entropy(logits, batch[1]) + 0.3 * F.cross_entropy(logits, batch[1][order])


@pytest.mark.parametrize(
    ("forward", "moved"), [(as_they_are, False), (rolled, True), (both_in_another_order, False), (mixed, False)]
)
def test_targets_that_the_step_moves_against_the_inputs_are_told(forward: Any, moved: bool) -> None:
    assert looked(SMALL, (X, LABELS), forward).moved_targets is moved


def of_means(model: Any, batch: Any) -> Tensor:
    return (model(batch[0]).mean(dim=0) - batch[1].mean(dim=0)).square().sum()


def of_all_pairs(model: Any, batch: Any) -> Tensor:
    return (model(batch[0])[:, :1] - batch[1][:, 0]).abs().mean()


def of_each(model: Any, batch: Any) -> Tensor:
    return F.mse_loss(model(batch[0])[:, :1], batch[1])


def of_means_by_view(model: Any, batch: Any) -> Tensor:  # `view` takes what lies in one block, as the program's own tensors do
    wide = model(batch[0]).view(-1, 2, 2).mean(dim=0)
    return (wide.sum() - batch[1].view(-1).mean()).square()


def without_targets(model: Any, batch: Any) -> Tensor:
    return (model(batch[0]) - batch[0]).square().mean()


@pytest.mark.parametrize(
    ("forward", "alone"),
    [(of_means, True), (of_means_by_view, True), (of_all_pairs, True), (of_each, False), (without_targets, False)],
)
def test_a_loss_that_does_not_mind_which_example_has_which_target_is_told(forward: Any, alone: bool) -> None:
    assert looked(SMALL, (X, VALUES), forward).unpaired is alone


@pytest.mark.parametrize("kinds", [2, 4])
def test_a_loss_of_pairs_minds_who_is_of_one_kind_in_a_batch_of_blocks(kinds: int) -> None:
    def of_triplets(model: Any, batch: Any) -> Tensor:
        apart = torch.cdist(model(batch[0]), model(batch[0]))
        same = batch[1][:, None] == batch[1]
        return F.relu((apart * same).amax(dim=1) - (apart + 10 * same).amin(dim=1) + 0.3).mean()

    blocks = torch.arange(kinds).repeat_interleave(64 // kinds)  # as many of each, in a row
    assert not looked(SMALL, (X, blocks), of_triplets).unpaired


# ------------------------------------------------------------------------------------------------------------ floors


@pytest.mark.parametrize(("sign", "place"), [(1.0, None), (-1.0, 1)])
def test_a_divergence_that_is_subtracted_leaves_the_loss_without_a_floor(sign: float, place: int | None) -> None:
    class Code(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.code, self.back = nn.Linear(4, 4), nn.Linear(2, 4)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            mean, log_variance = self.code(x).chunk(2, dim=1)
            return self.back(mean + torch.randn_like(mean) * (0.5 * log_variance).exp()), mean, log_variance

    def forward(model: Any, batch: Tensor) -> Tensor:
        output, mean, log_variance = model(batch)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean()
        return F.l1_loss(output, batch) + 0.05 * sign * divergence

    torch.manual_seed(0)
    assert looked(Code(), X, forward).floorless == place


def test_a_critic_and_a_policy_fall_along_a_line() -> None:
    for forward in (lambda model, batch: -model(batch).mean(), policy(by_distribution, 1.0), policy(by_distribution, -1.0)):
        assert looked(SMALL, X, forward).floorless is None


def test_a_forward_that_is_set_on_the_instance_stays() -> None:
    model = nn.Linear(4, 4)
    forward = model.forward = lambda x: 2 * nn.Linear.forward(model, x)  # type: ignore[method-assign]
    assert floorless(model, X, lambda m, b: -m(b).square().mean()) == 0
    assert vars(model)["forward"] is forward


@pytest.mark.parametrize("of", ["what weights made", "the input"])
def test_a_net_of_sines_is_told_from_one_that_is_given_sines(of: str) -> None:
    class Wave(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 8), nn.Linear(8 if of == "what weights made" else 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.sin(self.first(x)) if of == "what weights made" else torch.sin(x))

    assert looked(Wave(), X, lambda m, b: m(b).square().mean()).takes_sine is (of == "what weights made")


class Probed(nn.Module):
    """An encoder that is taught by two views of an example, and a probe of what it has learned so far."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 8))
        self.predict, self.how = nn.Linear(8, 8), how
        self.probe = nn.Linear(8, 3) if how != "two layers" else nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.probe(self.encode(x).detach())}

    def cost(self, x: Tensor) -> Tensor:
        if self.how == "a penalty":
            return 1e-3 * torch.cat([p.flatten() for p in self.encode.parameters() if p.dim() > 1]).square().sum()
        one, other = self.encode(x), self.encode(x.flip(1))
        return -F.cosine_similarity(one if self.how == "no head" else self.predict(one), other.detach()).mean()


@pytest.mark.parametrize(
    ("how", "names"),
    [("a head", ()), ("two layers", ()), ("no head", ()), ("a penalty", ("encode.0.weight", "encode.2.weight"))],
)
def test_a_probe_of_what_another_loss_teaches_is_meant(how: str, names: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(32, 6), torch.arange(32) % 3
    facts = looked(Probed(how), (x, y), lambda m, b: F.cross_entropy(m(b[0])["logits"], b[1]) + m.cost(b[0]))
    assert not [note for note in facts.notes if "choice" in note]
    assert facts.cut_paths == names


class Coded(nn.Module):
    """An autoencoder that returns the mean and spread of its code, too, or what else it makes of the code's mean."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.encode = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 4))
        self.decode = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 6))
        self.other = nn.Linear(2, 6)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encode(x).chunk(2, dim=1)
        with torch.set_grad_enabled(self.how == "drawn"):
            z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decode(z), self.other(mean) if self.how == "a second answer" else mean, log_variance

    def cost(self, batch: Any) -> Tensor:
        made, mean, log_variance = self(batch[0])
        error = (made - batch[0]).square().sum(dim=1)
        if self.how == "a second answer":
            return (error + (mean - batch[0]).square().sum(dim=1)).mean() + log_variance.square().mean()
        if self.how == "views":
            return error.mean() - F.log_softmax(mean @ mean.T, dim=1).diagonal().mean() + log_variance.square().mean()
        return (error + 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)).mean()


@pytest.mark.parametrize(
    ("how", "names"),
    [
        ("drawn", ()),
        ("drawn without a gradient", ("encode.0.weight", "encode.2.weight")),
        ("a second answer", ()),
        ("views", ()),
    ],
)
def test_a_code_that_is_drawn_without_a_gradient(how: str, names: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    facts = looked(Coded(how), (torch.randn(32, 6),), lambda m, b: m.cost(b))
    assert not [note for note in facts.notes if "choice" in note]
    assert facts.cut_paths == names
