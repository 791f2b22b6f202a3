"""States that are detached at every step of a sequence: told beside windows, whole gradients and states between batches."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.facts import Facts
from trainability.doctor.measure.facts import look

DRAWS = torch.Generator().manual_seed(0)
X = torch.randn(24, 12, 3, generator=DRAWS)
WORDS = torch.randint(1, 20, (24, 12), generator=DRAWS)
Y = X.sum(dim=(1, 2))[:, None]


class Counter(nn.Module):
    """A state that is handed on by hand: `cut` is every how many steps it is detached; 0 is never."""

    def __init__(self, cut: int, *, words: bool = False, at_once: bool = True, each: bool = False, first: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(20, 3) if words else None
        self.cell, self.head = nn.LSTMCell(3, 16), nn.Linear(16, 1)
        self.cut, self.at_once, self.each, self.first = cut, at_once, each, first

    def forward(self, x: Tensor) -> Tensor:
        steps = self.table(x) if self.table is not None and self.at_once else x
        steps = steps if self.first else steps.transpose(0, 1)
        state, told = (x.new_zeros(steps.shape[1], 16, dtype=torch.float),) * 2, []
        for t, given in enumerate(steps):
            if self.cut and t % self.cut == 0:
                state = state[0].detach(), state[1].detach()
            state = self.cell(given if self.table is None or self.at_once else self.table(given), state)
            told.append(self.head(state[0]))
        return torch.stack(told, dim=0 if self.first else 1) if self.each else told[-1]


def ask(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Facts:
    return look(model, batch, lambda model, batch: F.mse_loss(model(batch[0]), batch[1]))


def by_parts(model: Any, batch: Any) -> Tensor:
    """The loop over the steps is in the loss, and the model is never called as a whole."""
    state = batch[0].new_zeros(24, 16)
    for t in range(12):
        state = model["cell"](batch[0][:, t], state.detach())
    return F.mse_loss(model["head"](state), batch[1])


CUT = {
    "numbers": (Counter(1), X, Y),
    "words at once": (Counter(1, words=True), WORDS, Y),
    "words step by step": (Counter(1, words=True, at_once=False), WORDS, Y),
    "an answer for each step": (Counter(1, each=True), X, X.cumsum(1).sum(2, keepdim=True)),
    "steps first": (Counter(1, first=True), X.transpose(0, 1).contiguous(), Y),
    "single numbers": (nn.Sequential(nn.Unflatten(1, (12, 3)), Counter(1)), X.flatten(1), Y),
}


@pytest.mark.parametrize("name", [name for name in CUT if name != "single numbers"])
def test_a_state_detached_at_every_step_is_told(name: str) -> None:
    model, given, wanted = CUT[name]
    facts = ask(model, (given, wanted))
    assert facts.cut_steps == (1, 12), facts.notes
    found = diagnose(Evidence(facts=facts)).findings
    assert "unreached_parameter.detached" in [f.code for f in found]


def test_a_layer_that_nothing_uses_does_not_hide_it() -> None:
    model = Counter(1)
    model.spare = nn.Linear(3, 3)
    facts = ask(model, (X, Y))
    found = {f.code: f.severity for f in diagnose(Evidence(facts=facts)).findings}
    assert (found["unreached_parameter.detached"], found["unreached_parameter.unused"]) == ("warning", "hint")


def test_numbers_that_lie_one_after_another_are_steps_too() -> None:
    model, given, wanted = CUT["single numbers"]
    assert ask(model, (given, wanted)).cut_steps == (3, 36)


def test_a_loop_in_the_loss_is_told() -> None:
    torch.manual_seed(0)
    parts = nn.ModuleDict({"cell": nn.GRUCell(3, 16), "head": nn.Linear(16, 1)})
    assert look(parts, (X, Y), by_parts).cut_steps == (1, 12)


class Chosen(nn.Module):
    """The last step is scaled by which of the earlier ones is the largest: by jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x[:, -1]) * (1 + x[:, :-1, 0].argmax(1, keepdim=True))


class Reservoir(nn.Module):
    """A recurrent net that is never trained, under a layer that is."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.head = nn.RNN(3, 16, batch_first=True).requires_grad_(False), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            _, state = self.net(x)
        return self.head(state[0])


class Stepped(nn.Module):
    """A reservoir whose steps are a loop: the state has nothing behind it that is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.RNNCell(3, 16).requires_grad_(False), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 16)
        for step in x.unbind(dim=1):
            state = self.cell(step, state.detach())
        return self.head(state)


class Carried(nn.Module):
    """A state that is kept from batch to batch, without its graph."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.head, self.state = nn.GRU(3, 16, batch_first=True), nn.Linear(16, 1), torch.zeros(1, 24, 16)

    def forward(self, x: Tensor) -> Tensor:
        out, state = self.net(x, self.state)
        self.state = state.detach()
        return self.head(out[:, -1])


class LastAlone(nn.Module):
    """Reads nothing but the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x[:, -1])


class Centred(nn.Module):
    """Examples are centred by a mean that has no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x - x.mean(0).detach())


SOUND: dict[str, Callable[[], nn.Module]] = {
    "whole": lambda: Counter(0),
    "windows of six": lambda: Counter(6),
    "windows of eleven, of which one step is left": lambda: Counter(11),
    "chosen": Chosen,
    "reservoir": Reservoir,
    "reservoir, step by step": Stepped,
    "carried": Carried,
    "centred": Centred,
    "last alone": LastAlone,
    "flat": lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, 1)),
    "convolution": lambda: nn.Sequential(nn.Conv1d(12, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 1)),
}


@pytest.mark.parametrize("name", list(SOUND))
def test_sound_neighbours_are_left_alone(name: str) -> None:
    torch.manual_seed(0)
    facts = ask(SOUND[name](), (X, Y))
    assert facts.cut_steps is None
    assert not [note for note in facts.notes if note.startswith("steps without")]


def test_words_and_answers_for_each_step_with_the_whole_gradient_are_left_alone() -> None:
    assert ask(Counter(0, words=True), (WORDS, Y)).cut_steps is None
    assert ask(Counter(0, words=True, at_once=False), (WORDS, Y)).cut_steps is None
    assert ask(Counter(0, each=True), (X, X.cumsum(1).sum(2, keepdim=True))).cut_steps is None
