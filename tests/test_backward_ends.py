"""Recurrent layers of both directions that are read at the last step, each form beside sound ones."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import trainability
from trainability.doctor.measure.certain import facts_of

STEPS = 9


class Net(nn.Module):
    def __init__(self, kind: type = nn.GRU, take: str = "last", fed: str | None = None, **words: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = bool(words.pop("batch_first", True))
        self.fed = nn.GRU(3, 3, batch_first=True) if fed == "recurrent" else None
        self.conv = nn.Conv1d(3, 3, 3, padding=1) if fed == "convolution" else None
        self.rnn = kind(3, 16, batch_first=self.first, **{"bidirectional": True, **words})
        width = 16 * (1 + self.rnn.bidirectional)
        self.take, self.attend, self.head = take, nn.MultiheadAttention(width, 1, batch_first=True), nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.fed is not None:
            x = self.fed(x)[0]
        if self.conv is not None:
            x = self.conv(x.transpose(1, 2)).transpose(1, 2)
        lengths = STEPS - torch.arange(len(x)) % 4
        if self.take.startswith("packed"):
            out, states = self.rnn(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
            out, _ = pad_packed_sequence(out, batch_first=True)
        else:
            out, states = self.rnn(x if self.first else x.transpose(0, 1))
            out = out if self.first else out.transpose(0, 1)
        state = states[0] if isinstance(states, tuple) else states
        half = out.shape[2] // 2
        taken = {
            "last": lambda: out[:, -1],
            "packed last": lambda: out[torch.arange(len(x)), lengths - 1],
            "states": lambda: torch.cat([state[-2], state[-1]], dim=1),
            "beside the state": lambda: out[:, -1] + torch.cat([state[-1], state[-1]], dim=1),
            "both ends": lambda: torch.cat([out[:, -1, :half], out[:, 0, half:]], dim=1),
            "mean": lambda: out.mean(dim=1),
            "forward half": lambda: torch.cat([out[:, -1, :half], out[:, -1, :half]], dim=1),
            "attended": lambda: self.attend(out[:, -1:], out, out)[0][:, 0],
        }
        return self.head(taken[self.take]())


def program(model: nn.Module) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(256, STEPS, 3, generator=rng)
    y = (x[:, 0, 0] * x[:, 1, 1] > 0).long()
    return model, [(x[k : k + 32], y[k : k + 32]) for k in range(0, 256, 32)]


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (lambda: Net(), True),
        (lambda: Net(nn.LSTM), True),
        (lambda: Net(nn.RNN, batch_first=0), True),
        (lambda: Net(take="packed last"), True),
        (lambda: Net(fed="convolution"), True),
        (lambda: Net(take="states"), False),
        (lambda: Net(nn.LSTM, take="states"), False),
        (lambda: Net(take="beside the state"), False),
        (lambda: Net(take="both ends"), False),
        (lambda: Net(take="mean"), False),
        (lambda: Net(take="forward half"), False),
        (lambda: Net(take="attended"), False),
        (lambda: Net(num_layers=2), False),  # its lower layer has told the upper one of all steps
        (lambda: Net(fed="recurrent"), False),
        (lambda: Net(bidirectional=0), False),
    ],
)
def test_the_backward_direction_at_its_first_step(model: Callable[[], Net], told: bool) -> None:
    net, loader = program(model())
    facts = facts_of(net, loader[0], loss_fn=F.cross_entropy, batches=loader)
    assert facts is not None
    assert facts.readings.backward_ends == (("rnn", STEPS) if told else None)


@pytest.mark.parametrize(("take", "code"), [("last", "ignored_end.backward"), ("states", None)])
def test_check_and_monitor_name_it(take: str, code: str | None) -> None:
    net, loader = program(Net(take=take))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    said = trainability.check(net, loader, nn.CrossEntropyLoss(), optimizer)
    assert ([found.code for found in said.findings if found.rule == "ignored_end"] or [None]) == [code]
    with trainability.Monitor(net, optimizer, every=1) as monitor:
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert ([found.code for found in monitor.diagnose().findings if found.rule == "ignored_end"] or [None]) == [code]
