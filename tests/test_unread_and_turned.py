"""What one pass shows of flows, gradients, words, states, sines and shares of a mixture: each mistake beside its sound twin."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_programs import batches
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.data import DataLoader, TensorDataset

import trainability
from trainability import check
from trainability.doctor.facts import Facts
from trainability.doctor.measure.constants import constant_loss
from trainability.doctor.measure.directions import nearer_and_further
from trainability.doctor.measure.facts import look
from trainability.doctor.measure.rehearsal import rehearse

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
SERIES = torch.randn(32, 8, 1, generator=torch.Generator().manual_seed(1))


def looked(model: nn.Module, batch: Any, forward: Any, *, pairs_itself: bool = False) -> Facts:
    torch.manual_seed(0)
    return look(model, batch, forward, pairs_itself=pairs_itself)


# ------------------------------------------------------------------------------------------------- signs of gradients


class Coupling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(2, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        size, shift = self.net(x[:, :2]).chunk(2, dim=1)
        return torch.cat([x[:, :2], x[:, 2:] * size.exp() + shift], dim=1), size.sum(dim=1)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_volume_of_a_flow_enters_a_likelihood_with_a_minus_sign(sign: float) -> None:
    def forward(model: nn.Module, batch: Any) -> Tensor:
        z, volume = model(batch[0])
        return (0.5 * z.square().sum(dim=1) + sign * volume).mean()

    torch.manual_seed(0)
    assert looked(Coupling(), (X,), forward).volume_against is (sign > 0)


class Couplings(nn.Module):
    """Steps of a flow; those after the first overwrite the logarithm, or it is added up; or each is returned."""

    def __init__(self, *, adds: bool, lists: bool = False, zeros: bool = False) -> None:
        super().__init__()
        self.steps, self.adds, self.lists = nn.ModuleList(Coupling() for _ in range(3)), adds, lists
        for step in self.steps if zeros else ():
            nn.init.zeros_(step.net.weight)  # type: ignore[union-attr, arg-type]
            nn.init.zeros_(step.net.bias)  # type: ignore[union-attr, arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        volumes = []
        for step in self.steps:
            x, change = step(x.flip(1))
            volumes.append(change)
        return x, volumes if self.lists else torch.stack(volumes).sum(dim=0) if self.adds else volumes[-1]


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("each", [False, True])
def test_a_likelihood_that_counts_the_volume_of_one_step_alone_is_told(each: bool, zeros: bool) -> None:
    def likelihood(model: nn.Module, batch: Any) -> Tensor:
        z, volume = model(batch[0])
        density = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(dim=1)
        return -(density + volume).mean() / (4 if each else 1)

    def of_a_list(model: nn.Module, batch: Any, *, adds: bool) -> Tensor:
        z, volumes = model(batch[0])
        return (0.5 * z.square().sum(dim=1) - (sum(volumes) if adds else volumes[-1])).mean()

    torch.manual_seed(0)
    for adds in (False, True):
        facts = looked(Couplings(adds=adds, zeros=zeros), (X,), likelihood)
        assert facts.volume_missing is not adds
        assert not facts.notes
        model = Couplings(adds=adds, lists=True, zeros=zeros)
        assert looked(model, (X,), functools.partial(of_a_list, adds=adds)).volume_missing is not adds


class Standardised(nn.Module):
    """A flow that scales or squashes its input first, whose volume no weight changes and need not be counted."""

    def __init__(self, how: str, *, adds: bool) -> None:
        super().__init__()
        self.flow, self.how = Couplings(adds=adds), how

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.flow((x - 3) / 5 if self.how == "scale" else torch.logit(x.sigmoid() * 0.9 + 0.05))


@pytest.mark.parametrize("how", ["scale", "logit"])
@pytest.mark.parametrize("adds", [True, False])
def test_a_volume_that_no_weight_changes_may_be_left_out(how: str, adds: bool) -> None:
    def likelihood(model: nn.Module, batch: Any) -> Tensor:
        z, volume = model(batch[0])
        return (0.5 * z.square().sum(dim=1) - volume).mean()

    torch.manual_seed(0)
    assert looked(Standardised(how, adds=adds), (X,), likelihood).volume_missing is not adds


def test_a_penalty_on_codes_is_no_likelihood() -> None:
    def forward(model: nn.Module, batch: Any) -> Tensor:
        z, score = model(batch[0])
        return 0.5 * z.square().sum(dim=1).mean() - score.mean() + (z - batch[0]).square().mean()

    torch.manual_seed(0)
    assert not looked(Couplings(adds=False), (X,), forward).volume_missing


class Turned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return -grads[0]


class Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


@pytest.mark.parametrize(
    ("before_kind", "before_room", "turned"),
    [(None, Turned, ()), (Turned, Turned, ("trunk.weight",)), (Round, Round, ()), (None, None, ())],
)
def test_gradients_that_are_turned_for_all_losses_are_told_from_an_adversarys(
    before_kind: Any, before_room: Any, turned: tuple[str, ...]
) -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"trunk": nn.Linear(4, 8), "kind": nn.Linear(8, 3), "room": nn.Linear(8, 2)})

    def forward(model: Any, batch: Any) -> Tensor:
        h = torch.tanh(model["trunk"](batch[0]))
        of_kind, of_room = (h if f is None else f.apply(h) for f in (before_kind, before_room))
        return F.cross_entropy(model["kind"](of_kind), batch[1]) + F.cross_entropy(model["room"](of_room), batch[2])

    batch = (X, torch.arange(64) % 3, (X[:, 0] > 0).long())
    assert looked(model, batch, forward).turned_gradients == turned


# ------------------------------------------------------------------------------------------------- words and sequences


def padded(front: bool) -> tuple[Tensor, Tensor]:
    words = torch.randint(1, 9, (32, 10), generator=torch.Generator().manual_seed(2))
    lengths = 4 + torch.arange(32) % 5
    words = words * (torch.arange(10) < lengths[:, None])
    rolled = torch.stack([row.roll(10 - int(size)) for row, size in zip(words, lengths, strict=True)])
    return (rolled if front else words), lengths


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.gru, self.head = nn.Embedding(9, 8, padding_idx=0), nn.GRU(8, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
        packed: Any = pack_padded_sequence(self.words(words), lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.gru(packed)[1][0])


@pytest.mark.parametrize("front", [False, True])
def test_a_packed_sequence_with_its_padding_in_front_loses_its_last_word(front: bool) -> None:
    words, lengths = padded(front)
    batch = (words, lengths, torch.arange(32) % 3)
    found = looked(Packed(), batch, lambda model, b: F.cross_entropy(model(b[0], b[1]), b[2]))
    assert found.unread_words == ("last" if front else None)


def test_a_mark_of_the_end_cannot_be_exchanged() -> None:
    words, lengths = padded(False)
    words[torch.arange(32), lengths - 1] = 8
    batch = (words, lengths, torch.arange(32) % 3)
    assert looked(Packed(), batch, lambda model, b: F.cross_entropy(model(b[0], b[1]), b[2])).unread_words is None


class Attending(nn.Module):
    def __init__(self, hides: str) -> None:
        super().__init__()
        self.hides = hides
        self.words = nn.Embedding(9, 8)
        self.attention, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, words: Tensor) -> Tensor:
        h, hidden = self.words(words), (words == 0) if self.hides == "padding" else (words != 0)
        mixed = self.attention(h, h, h, key_padding_mask=hidden)[0] if self.hides != "all" else h
        return self.head(h + mixed)


@pytest.mark.parametrize(("hides", "unread"), [("padding", None), ("words", "hidden"), ("all", None)])
def test_a_mask_upside_down_is_told_from_a_model_of_single_words(hides: str, unread: str | None) -> None:
    words = padded(False)[0]
    found = looked(
        Attending(hides), (words, words % 3), lambda model, b: F.cross_entropy(model(b[0]).flatten(0, 1), b[1].flatten())
    )
    assert found.unread_words == unread


class Decoder(nn.Module):
    def __init__(self, fed: str) -> None:
        super().__init__()
        self.fed, self.gru, self.out = fed, nn.GRU(1, 8, batch_first=True), nn.Linear(8, 1)

    def forward(self, x: Tensor, truth: Tensor) -> Tensor:
        before = torch.cat([x[:, -1:], truth[:, :-1]], dim=1)
        return self.out(self.gru(truth if self.fed == "same" else before)[0])


@pytest.mark.parametrize("fed", ["before", "same"])
def test_a_decoder_that_is_fed_its_answer_is_told(fed: str) -> None:
    batch = (SERIES, SERIES.cumsum(dim=1))
    found = looked(Decoder(fed), batch, lambda model, b: F.mse_loss(model(*b), b[1]))
    assert found.fed_answer is (fed == "same")


class OneTensor(nn.Module):
    """An encoder and a decoder that find their sequences in one tensor, with attention to the target or to the source."""

    def __init__(self, memory: str) -> None:
        super().__init__()
        self.memory, self.words = memory, nn.Embedding(9, 8)
        self.attention, self.gru, self.head = (
            nn.MultiheadAttention(8, 1, batch_first=True),
            nn.GRU(8, 8, batch_first=True),
            nn.Linear(8, 9),
        )

    def forward(self, both: Tensor) -> Tensor:
        source, target = self.words(both[:, 0]), self.words(both[:, 1])
        asked, memory = self.gru(target)[0], source
        if self.memory == "target":
            asked, memory = self.gru(source)[0], target
        return self.head(asked + self.attention(asked, memory, memory)[0])


@pytest.mark.parametrize(("memory", "sees"), [("source", False), ("target", True)])
def test_later_words_are_seen_where_all_sequences_are_one_tensor(memory: str, sees: bool) -> None:
    g = torch.Generator().manual_seed(0)
    source = torch.randint(9, (32, 7), generator=g)
    answer = (source.flip(1) + 1) % 9
    both = torch.stack([source, torch.cat([torch.zeros(32, 1, dtype=torch.long), answer[:, :-1]], dim=1)], dim=1)
    found = looked(OneTensor(memory), (both, answer), lambda m, b: F.cross_entropy(m(b[0]).flatten(0, 1), b[1].flatten()))
    assert found.future is not None
    assert (found.future > 0) is sees


class Stepped(nn.Module):
    def __init__(self, drops: str) -> None:
        super().__init__()
        self.drops, self.cell, self.out, self.drop = drops, nn.Linear(9, 8), nn.Linear(8, 1), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        h, outputs = x.new_zeros(len(x), 8), []
        for t in range(x.shape[1]):
            new = torch.tanh(self.cell(torch.cat([x[:, t], h], dim=1)))
            new = self.drop(new) if self.drops == "candidate" else new
            h = 0.5 * h + new
            h = self.drop(h) if self.drops == "state" else h
            outputs.append(self.out(self.drop(h) if self.drops == "output" else h))
        return torch.stack(outputs, dim=1)


@pytest.mark.parametrize("drops", ["state", "output", "candidate"])
def test_a_state_that_is_dropped_at_each_step_is_told_from_what_is_put_out(drops: str) -> None:
    found = looked(Stepped(drops), (SERIES, SERIES), lambda model, b: F.mse_loss(model(b[0]), b[1]))
    assert found.dropped_state == (("drop", 0.5, 8) if drops == "state" else None)


class Dropping(nn.Module):
    def __init__(self, where: str, outputs: int) -> None:
        super().__init__()
        self.where, self.inner, self.out = where, nn.Linear(6, 32), nn.Linear(32, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = self.inner(x).relu()
        y = self.out(F.dropout(h, 0.4, self.training and self.where == "before the last layer"))
        if self.where == "relu":
            return y.relu()
        return F.dropout(y, 0.4, self.training).squeeze(1) if self.where == "answers" else y.squeeze(1)


@pytest.mark.parametrize("loss", [F.mse_loss, lambda o, t: (o - t).abs().mean(), F.cross_entropy])
@pytest.mark.parametrize("where", ["answers", "before the last layer", "relu"])
def test_dropout_behind_the_last_layer_is_told(where: str, loss: Any) -> None:
    torch.manual_seed(0)
    outputs = 5 if loss is F.cross_entropy else 1
    y = torch.arange(64) % 5 if loss is F.cross_entropy else torch.randn(64, 1) if where == "relu" else torch.randn(64)
    found = looked(Dropping(where, outputs), (torch.randn(64, 6), y), lambda model, b: loss(model(b[0]), b[1]))
    if where == "answers":
        assert found.dropped_answers == pytest.approx(0.4, abs=0.1)
    else:
        assert found.dropped_answers is None


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers, self.kept = nn.Linear(6, 6), torch.ones(1)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.layers(x)
        self.kept = (torch.rand_like(x) < 0.5).float()
        return self.layers(x * (1 - self.kept)) * self.kept


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.smooth_l1_loss])
def test_answers_may_be_masked_as_their_targets_are(loss: Any) -> None:
    torch.manual_seed(0)
    batch = (torch.randn(64, 6),)
    assert looked(Masked(), batch, lambda m, b: loss(m(b[0]), b[0] * m.kept)).dropped_answers is None
    found = looked(Masked(), batch, lambda m, b: loss(m(b[0]), b[0]))  # what is hidden is compared with a zero
    assert found.dropped_answers == pytest.approx(0.5, abs=0.1)


def test_features_that_nothing_is_compared_with_may_be_dropped() -> None:
    model = Dropping("answers", 5)
    found = looked(model, (torch.randn(64, 6),), lambda m, b: F.cosine_similarity(m(b[0]), m(b[0])).mean().neg())
    assert found.dropped_answers is None


@pytest.mark.parametrize(("factor", "size"), [(1.0, 1.0), (100.0, 40.0)])
def test_what_a_sine_of_sines_is_taken_of_is_measured(factor: float, size: float) -> None:
    class Sines(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.last = nn.Linear(4, 32), nn.Linear(32, 32), nn.Linear(32, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.sin(factor * self.second(torch.sin(30 * self.first(x)))))

    found = looked(Sines(), (X, X[:, :1]), lambda model, b: F.mse_loss(model(b[0]), b[1])).sine_of
    assert found is not None
    assert size / 3 < found < 3 * size


@pytest.mark.parametrize(("depth", "draw", "severity"), [(3, None, "warning"), (2, None, "hint"), (3, 30.0, None)])
def test_a_third_sine_that_goes_round_is_a_warning_though_the_loss_falls(
    depth: int, draw: float | None, severity: str | None
) -> None:
    class Sine(nn.Module):
        def __init__(self, given: int, first: bool) -> None:
            super().__init__()
            self.layer = nn.Linear(given, 64)
            if draw is not None:
                bound = 1 / given if first else (6 / given) ** 0.5 / draw
                nn.init.uniform_(self.layer.weight, -bound, bound)

        def forward(self, x: Tensor) -> Tensor:
            return torch.sin(30 * self.layer(x))

    torch.manual_seed(0)
    model = nn.Sequential(*(Sine(64 if k else 1, k == 0) for k in range(depth)), nn.Linear(64, 1))
    x = torch.linspace(-1, 1, 512)[:, None]
    loader = DataLoader(TensorDataset(x, torch.sin(9 * x) + 0.5 * torch.cos(23 * x)), 64, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), 5e-4)
    said = trainability.check(model, loader, loss_fn=F.mse_loss, optimizer=optimizer, rehearse_seconds=4)
    found = {f.code: f.severity for f in said.findings if f.rule == "activation_scale"}
    code = "activation_scale.third_sine" if depth == 3 else "activation_scale.sine"
    assert found == ({code: severity} if severity else {})


def test_a_sine_of_what_turns_by_an_angle_is_none_of_a_net_of_sines() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.angle, self.hidden, self.last = nn.Parameter(torch.ones(1)), nn.Linear(4, 8), nn.Linear(8, 1)

        def forward(self, x: Tensor) -> Tensor:
            turned = torch.cat([x[:, :2] * self.angle.cos(), x[:, 2:] * self.angle.sin()], dim=1)
            bent = self.hidden(turned).relu() @ torch.ones(8, 4)
            return self.last(torch.cat([torch.sin(500 * turned), torch.sin(500 * bent)], dim=1))

    assert looked(Turned(), (X, X[:, :1]), lambda model, b: F.mse_loss(model(b[0]), b[1])).sine_of is None


# ------------------------------------------------------------------------------------------------- what is asked of what


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize("viewed", [False, True])
def test_a_view_in_place_of_a_transpose_is_told_where_both_losses_are_near_each_other(loss: Any, viewed: bool) -> None:
    first = nn.Linear(4, 3)
    nn.init.zeros_(first.bias)
    with torch.no_grad():
        first.weight.mul_(1e-2)
    model = nn.Sequential(first, nn.LogSoftmax(dim=2))
    batch = (X.view(8, 8, 4), torch.arange(64).view(8, 8) % 3)

    def forward(model: nn.Module, b: Any) -> Tensor:
        output = model(b[0])
        return loss(output.reshape(8, 3, 8) if viewed else output.transpose(1, 2), b[1])

    assert looked(model, batch, forward).misread_logits is viewed


def test_a_softmax_in_the_loss_excludes_marks_that_go_together() -> None:
    marks = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]).repeat(32, 1)
    found = looked(nn.Linear(4, 3), (X, marks), lambda model, b: F.binary_cross_entropy(model(b[0]).softmax(dim=1), b[1]))
    assert found.rows_off_one == 1.0


@pytest.mark.parametrize("swapped", [False, True])
def test_shares_of_a_mixture_belong_to_inputs_and_targets_alike(swapped: bool) -> None:
    def forward(model: nn.Module, b: Any) -> Tensor:
        order, share = b[0].shape[0] - 1 - torch.arange(len(b[0])), 0.8
        output = model(share * b[0] + (1 - share) * b[0][order])
        weight = 1 - share if swapped else share
        return weight * F.cross_entropy(output, b[1]) + (1 - weight) * F.cross_entropy(output, b[1][order])

    found = looked(nn.Linear(4, 3), (X, torch.randint(3, (64,))), forward, pairs_itself=True)
    assert (found.misaligned is not None) is swapped


@pytest.mark.parametrize("turned", [False, True])
def test_the_direction_that_tells_kinds_apart_is_found_among_louder_ones(turned: bool) -> None:
    draws = torch.randn(400, 12, generator=torch.Generator().manual_seed(3))
    like, unlike = draws[:200].clone(), draws[200:].clone()
    like[:, 5] *= 0.2
    nearer, further = nearer_and_further(*((unlike, like) if turned else (like, unlike)))
    assert (nearer > 5, further > 5) == (not turned, turned)


# ------------------------------------------------------------------------------------------- parts in the model's place


class Apart(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.one, self.other = nn.Linear(4, 3), nn.Linear(3, 1), nn.Linear(3, 1)


def of_parts(model: Any, batch: Any) -> Tensor:
    h = torch.tanh(model.inner(batch[0]))
    return F.mse_loss(model.one(h), batch[1]) + F.mse_loss(model.other(h), batch[2])


def test_the_best_constant_of_parts_is_that_of_all_that_answer() -> None:
    torch.manual_seed(0)
    model, batch = Apart(), (X, X[:, :1] + 2, X[:, 1:2] - 1)
    best = sum(float(y.var(correction=0)) for y in batch[1:])
    found = constant_loss(model, [batch], of_parts, heads=[model.one, model.other])
    assert found == pytest.approx(best, rel=1e-3)
    seen = rehearse(model, torch.optim.SGD(model.parameters(), lr=1e-2), [batch] * 20, training_step=of_parts, seconds=120.0)
    assert seen.constant_loss == pytest.approx(best, rel=1e-3)
    assert seen.reference[0].output_rms is not None


def test_a_part_answers_in_the_place_of_a_model_that_is_never_called() -> None:
    def likelihood(model: Any, batch: Any) -> Tensor:
        h = torch.tanh(model.inner(batch[0]))
        return (0.5 * (batch[1] - model.one(h).squeeze(1)).square()).mean()

    batch = (X, X[:, :1])
    assert looked(Apart(), batch, likelihood).broadcast_shape == (64, 64)
    seen = rehearse((model := Apart()), torch.optim.SGD(model.parameters(), lr=1e-2), [batch] * 5, training_step=of_one)
    assert seen.task.kind == "regression"


def of_one(model: Any, batch: Any) -> Tensor:
    return F.mse_loss(model.one(torch.tanh(model.inner(batch[0]))), batch[1])


@pytest.mark.parametrize("cut", [False, True])
def test_a_decoder_that_is_cut_off_from_its_encoder_is_told_though_a_penalty_reaches_that(cut: bool) -> None:
    model = nn.ModuleDict({"inner": nn.Linear(4, 2), "outer": nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 4))})

    def forward(model: Any, batch: Any) -> Tensor:
        code = model["inner"](batch[0])
        made = model["outer"](code.detach() if cut else code)
        return (made - batch[0]).square().mean() + code.square().mean()

    assert looked(model, (X,), forward).cut_paths == (("inner.weight",) if cut else ())


@pytest.mark.parametrize("viewed", [False, True])
def test_as_many_places_as_classes_may_stand_in_either_dimension(viewed: bool) -> None:
    batch = (X.view(8, 8, 4), torch.arange(64).view(8, 8) % 8)

    def forward(model: nn.Module, b: Any) -> Tensor:
        output = model(b[0])
        return F.cross_entropy(output.reshape(-1, 8) if viewed else output.transpose(1, 2), b[1].flatten() if viewed else b[1])

    assert not looked(nn.Linear(4, 8), batch, forward).misread_logits


@pytest.mark.parametrize(
    ("mask", "level", "found"),
    [
        (lambda t: t > 0, 0.0, True),  # standardised before the mask
        (lambda t: t > 0, 3.0, False),  # depths; zero is a hole
        (lambda t: t != 0, 0.0, False),
        (lambda t: t > -3.0, 0.0, False),  # next to none are left out
    ],
)
def test_a_mask_for_holes_after_standardising(mask: Callable[[Tensor], Tensor], level: float, found: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(128, 1, 8, 8, generator=rng)
    depth = (x + level).clamp(min=0.0 if level else -9.0) + 1e-3 * torch.randn(x.shape, generator=rng)
    depth = torch.where(torch.rand(x.shape, generator=rng) < 0.1, 0.0, depth.abs() if level else depth)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        there = mask(target)
        return F.l1_loss(output[there], target[there])

    said = check(model, batches(x, depth), loss_fn, torch.optim.Adam(model.parameters(), 1e-3), rehearse_seconds=0.0)
    assert ("masked_targets.below_zero" in [f.code for f in said.findings]) == found


def test_a_loss_that_asks_for_the_positive_part_reads_what_is_below() -> None:
    x = torch.randn(256, 6, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(output, target.clamp(min=0))

    said = check(model, batches(x, x[:, :1] * 2), loss_fn, torch.optim.Adam(model.parameters(), 1e-3), rehearse_seconds=0.0)
    assert "masked_targets.below_zero" not in [f.code for f in said.findings]
