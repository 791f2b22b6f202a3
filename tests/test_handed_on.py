"""Recurrent states that a watched loop hands on without their graph, beside those that are cut where they may be."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor

N, STEPS, WIDTH = 12, 10, 6
X = torch.randn(N, STEPS, 3, generator=torch.Generator().manual_seed(0))
Y = X.cumsum(dim=1)[:, :, :2].contiguous()


class Walker(nn.Module):
    """A cell that is called step by step; how its state is handed on is the case's own."""

    def __init__(self, hand_on: Callable[[Tensor, int], Tensor], *, cell: str = "gru", asks_all: bool = False) -> None:
        super().__init__()
        self.cell = {"gru": nn.GRUCell, "lstm": nn.LSTMCell, "rnn": nn.RNNCell}[cell](3, WIDTH)
        self.out = nn.Linear(WIDTH, 2)
        self.hand_on, self.kind, self.asks_all = hand_on, cell, asks_all

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(len(x), WIDTH)
        answers = []
        for step in range(x.shape[1]):
            h, c = self.hand_on(h, step), self.hand_on(c, step)
            if self.kind == "lstm":
                h, c = self.cell(x[:, step], (h, c))
            else:
                h = self.cell(x[:, step], h)
            answers.append(self.out(h))
        return torch.stack(answers, dim=1) if self.asks_all else answers[-1]


class Refined(nn.Module):
    """Sound: an answer that is made better and better from the same input, where the last round alone is taught."""

    def __init__(self) -> None:
        super().__init__()
        self.better = nn.Bilinear(3 * STEPS, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        answer = x.new_ones(len(x), 2)
        for _ in range(STEPS):
            answer = self.better(flat, answer.detach())
        return answer


class Reservoir(nn.Module):
    """Sound: a recurrent layer that is not trained, and a linear layer that reads its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.RNNCell(3, WIDTH).requires_grad_(False), nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), WIDTH)
        for step in x.unbind(dim=1):
            h = self.cell(step, h.detach())
        return self.out(h)


CASES: dict[str, tuple[nn.Module, bool]] = {
    "detached at every step": (Walker(lambda h, step: h.detach()), True),
    "data of a plain cell": (Walker(lambda h, step: h.data, cell="rnn"), True),
    "both states of an LSTM": (Walker(lambda h, step: h.detach(), cell="lstm"), True),
    "handed on as it is": (Walker(lambda h, step: h), False),
    "cut at every fourth step": (Walker(lambda h, step: h.detach() if step % 4 == 0 else h), False),
    "every step is asked": (Walker(lambda h, step: h.detach(), asks_all=True), False),
    "an answer that is refined": (Refined(), False),
    "a reservoir": (Reservoir(), False),
}


# By numbers alone, each step of a sequence that is asked looks like one that learns; asked again with other steps, it does not.
BY_ASKING = {"every step is asked": True}


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_states_that_are_handed_on(name: str, asks: bool) -> None:
    model, found = CASES[name]
    found = BY_ASKING.get(name, found) if asks else found
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    with Monitor(model, optimizer, every=2, asks_step=asks) as monitor:
        for _ in range(4):
            optimizer.zero_grad()
            answer = model(X)
            loss = F.mse_loss(answer, Y if answer.dim() == 3 else Y[:, -1])
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    said = [f for f in monitor.diagnose().findings if f.code == "unreached_parameter.detached"]
    assert bool(said) is found
