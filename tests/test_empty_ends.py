"""Packed sequences whose padding is taken for their last step, each beside sound ones that look like it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from trainability import Monitor
from trainability.doctor import diagnose
from trainability.doctor.evidence import Evidence
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.forward_pass import ForwardPass

CODE = "ignored_end.packed"


def last(out: Tensor, states: Tensor, lengths: Tensor, net: Any) -> Tensor:
    return out[:, -1]


def beside_a_table(out: Tensor, states: Tensor, lengths: Tensor, net: Any) -> Tensor:
    return torch.cat([net.kind(lengths % 3), out[:, -1]], dim=1)


def own_last(out: Tensor, states: Tensor, lengths: Tensor, net: Any) -> Tensor:
    return out[torch.arange(len(out)), lengths - 1]


def state(out: Tensor, states: Tensor, lengths: Tensor, net: Any) -> Tensor:
    return states[-1]


def beside_the_state(out: Tensor, states: Tensor, lengths: Tensor, net: Any) -> Tensor:
    return torch.cat([states[-1], out[:, -1]], dim=1)


def beside_the_mean(out: Tensor, states: Tensor, lengths: Tensor, net: Any) -> Tensor:
    return torch.cat([out.sum(dim=1) / lengths[:, None], out[:, -1]], dim=1)


def mean(out: Tensor, states: Tensor, lengths: Tensor, net: Any) -> Tensor:
    return out.sum(dim=1) / lengths[:, None]


def attended(out: Tensor, states: Tensor, lengths: Tensor, net: Any) -> Tensor:
    hidden = torch.arange(out.shape[1]) >= lengths[:, None]
    scores = net.asked(out[:, -1]).unsqueeze(1) @ out.transpose(1, 2)  # a query of the last column is a mistake, yet no blank
    return (scores.masked_fill(hidden[:, None], -1e9).softmax(dim=-1) @ out).squeeze(1)


def rectified(out: Tensor, states: Tensor, lengths: Tensor, net: Any) -> Tensor:
    return out[:, -1].relu()


def own_bias_where_ended(out: Tensor, states: Tensor, lengths: Tensor, net: Any) -> Tensor:
    answer = net.asked(out[:, -1])
    return torch.where((lengths == out.shape[1])[:, None], answer, net.kind(lengths % 3).repeat(1, 4)[:, : answer.shape[1]])


def both_ways(out: Tensor, states: Tensor, lengths: Tensor, net: Any) -> Tensor:
    half = out.shape[2] // 2
    return torch.cat([out[:, -1, :half], out[:, 0, half:]], dim=1)


class Net(nn.Module):
    def __init__(self, kind: type = nn.GRU, take: Callable = last, **words: Any) -> None:
        super().__init__()
        self.first, self.total = words.pop("batch_first", True), words.pop("total", None)
        self.gate = words.pop("gate", None)
        self.rnn = kind(2, 8, batch_first=self.first, **words)
        width = 8 * (1 + self.rnn.bidirectional)
        self.take, self.kind, self.asked = take, nn.Embedding(3, 4), nn.Linear(width, width)
        self.head = nn.Sequential(nn.Dropout(0.1), nn.LazyLinear(3))
        self(batch(range(3, 11))[0])

    def forward(self, given: tuple[Tensor, Tensor]) -> Tensor:
        x, lengths = given
        steps = x if self.first else x.transpose(0, 1)
        packed = pack_padded_sequence(steps, lengths, batch_first=self.first, enforce_sorted=False)
        out, states = self.rnn(packed)
        out, _ = pad_packed_sequence(out, batch_first=self.first, total_length=self.total)
        out = out if self.first else out.transpose(0, 1)
        out = out if self.gate is None else out * self.gate
        return self.head(self.take(out, states[0] if isinstance(states, tuple) else states, lengths, self))


class Tagger(Net):
    """Steps that are answered one by one, the last of which is padding for most sequences."""

    def forward(self, given: tuple[Tensor, Tensor]) -> Tensor:
        x, lengths = given
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        out, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        return torch.stack([self.head(out[:, t]) for t in reversed(range(out.shape[1]))], dim=1).mean(dim=1)


def batch(lengths: Any) -> tuple[tuple[Tensor, Tensor], Tensor]:
    torch.manual_seed(len(lengths))
    steps = [torch.randn(n, 2) for n in lengths]
    return (pad_sequence(steps, batch_first=True), torch.tensor(list(lengths))), torch.arange(len(steps)) % 3


MIXED, EQUAL, HARDLY = range(5, 21), [9] * 16, [9] * 13 + [4, 5, 6]
HALF = [9] * 8 + list(range(3, 9)) + [4, 5]


@pytest.mark.parametrize(
    ("model", "lengths", "told"),
    [
        (lambda: Net(), MIXED, True),
        (lambda: Net(nn.LSTM), MIXED, True),
        (lambda: Net(nn.RNN, num_layers=2), MIXED, True),
        (lambda: Net(nn.LSTM, bidirectional=True), MIXED, True),
        (lambda: Net(batch_first=False), MIXED, True),
        (lambda: Net(take=beside_a_table), MIXED, True),
        (lambda: Net(total=30), MIXED, True),
        (lambda: Net(take=rectified), MIXED, True),
        (lambda: Net(total=30, take=rectified), MIXED, True),
        (lambda: Net(take=own_bias_where_ended), HALF, False),
        (lambda: Net(total=30, gate=torch.zeros(())), MIXED, False),  # a branch that starts closed
        (lambda: Net(gate=torch.zeros(())), MIXED, False),
        (lambda: Net(), EQUAL, False),
        (lambda: Net(), HARDLY, False),
        (lambda: Net(take=own_last), MIXED, False),
        (lambda: Net(nn.LSTM, take=state), MIXED, False),
        (lambda: Net(take=beside_the_state), MIXED, False),
        (lambda: Net(take=beside_the_mean), MIXED, False),
        (lambda: Net(take=mean), MIXED, False),
        (lambda: Net(take=attended), MIXED, False),
        (lambda: Net(take=both_ways, bidirectional=True), MIXED, False),
        (lambda: Tagger(), MIXED, False),
    ],
)
def test_the_last_column_of_packed_sequences(model: Callable[[], nn.Module], lengths: Any, told: bool) -> None:
    net, given = model(), batch(lengths)
    with ForwardPass(net, given) as seen:
        F.cross_entropy(net(given[0]), given[1]).backward()
    empty = 16 if net.total else 15
    assert seen.given.empty.found == (("rnn", empty, 16) if told else None)


def of_the_longest(answers: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
    kept = lengths == lengths.max()
    return F.cross_entropy(answers[kept], labels[kept])


def of_all(answers: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
    return F.cross_entropy(answers, labels)


def weighed(answers: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
    return (F.cross_entropy(answers, labels, reduction="none") * (lengths == lengths.max())).mean()


@pytest.mark.parametrize(("loss", "told"), [(of_all, True), (of_the_longest, False), (weighed, False)])
def test_sequences_that_the_loss_leaves_out_do_not_count(loss: Callable[..., Tensor], told: bool) -> None:
    net, ((x, lengths), labels) = Net(), batch(HALF)
    facts = facts_of(net, ((x, lengths), labels), loss_fn=lambda answers, y: loss(answers, y, lengths))
    assert facts.readings.empty_ends == (("rnn", 8, 16) if told else None)


def test_check_is_told() -> None:
    facts = facts_of(Net(), batch(MIXED), loss_fn=F.cross_entropy)
    assert facts.readings.empty_ends == ("rnn", 15, 16)
    assert CODE in [f.code for f in diagnose(Evidence(facts=facts)).findings]


@pytest.mark.parametrize(("take", "told"), [(last, True), (state, False)])
def test_the_last_column_in_a_watched_loop(take: Callable, told: bool) -> None:
    model = Net(take=take)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    given, labels = batch(MIXED)
    with Monitor(model, optimizer, every=1) as monitor:
        for _ in range(3):
            loss = F.cross_entropy(model(given), labels)
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert (CODE in [f.code for f in monitor.diagnose().findings]) is told
