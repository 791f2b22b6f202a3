"""Linear layers that follow each other in parts of a model, and those that only look like it."""

import pytest
import torch
from torch import Tensor, nn

from trainability.doctor import diagnose
from trainability.doctor.evidence import Evidence
from trainability.doctor.measure.facts import look


def plain(*between: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 32), *between, nn.Linear(32, 32), *between, nn.Linear(32, 4))


class Parts(nn.Module):
    """A gate, which bends, beside a branch."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch, self.gate = branch, nn.Linear(4, 4)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return self.branch(x) * torch.exp(self.gate(x)) * scale


class Tapped(nn.Module):
    """Layers whose outputs are used a second time."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 32), nn.Linear(32, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        first = self.a(x)
        second = self.b(first)
        return self.c(second) + first.relu().mean() + second.relu().mean()


CASES = {
    "three in a row": (plain(), "warning"),
    "with dropout between": (plain(nn.Dropout(0.1)), "warning"),
    "with activations": (plain(nn.SiLU()), None),
    "with activations in place": (plain(nn.LeakyReLU(0.1, inplace=True)), None),
    "with activations and dropout in place": (plain(nn.ReLU(inplace=True), nn.Dropout(0.1, inplace=True)), None),
    "with dropout in place": (plain(nn.Dropout(0.1, inplace=True)), "warning"),
    "two in a row": (nn.Sequential(nn.Linear(4, 32), nn.Linear(32, 4)), "hint"),
    "two in a row, with an identity for an activation": (
        nn.Sequential(nn.Linear(4, 32), nn.Identity(), nn.Linear(32, 4)),
        "warning",
    ),
    "an identity, and then an activation": (nn.Sequential(nn.Linear(4, 32), nn.Identity(), nn.ReLU(), nn.Linear(32, 4)), None),
    "a bottleneck": (nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2), nn.Linear(2, 4)), "warning"),
    "a narrow one": (nn.Sequential(nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 1), nn.Linear(1, 4)), None),
    "outputs that are used twice": (Tapped(), None),
}


@pytest.mark.parametrize("name", CASES)
def test_linear_layers_in_a_part_of_a_model_that_bends(name: str) -> None:
    torch.manual_seed(0)
    branch, severity = CASES[name]
    batch = torch.randn(16, 4), torch.rand(16, 1), torch.randn(16, 4)
    facts = look(Parts(branch), batch, lambda model, b: (model(b[0], b[1]) - b[2]).pow(2).mean())
    found = [f for f in diagnose(Evidence(facts=facts)).findings if f.rule == "linear_stack"]
    assert [f.severity for f in found] == ([severity] if severity else [])
