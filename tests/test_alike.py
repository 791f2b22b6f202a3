"""Modules that are copies of each other, and tables of zeros: each beside its sound twin."""

import copy
from typing import Any

import pytest
import torch
from rule_examples import layer, probed, rehearsed, sample
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.evidence import OptimizerSettings
from trainability.doctor.facts import Facts
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.optimizer_settings import optimizer_settings
from trainability.doctor.pair_facts import Company

RNG = torch.Generator().manual_seed(0)
X, Y = torch.randn(24, 6, generator=RNG), torch.randn(24, 1, generator=RNG)


class Experts(nn.Module):
    """Three nets, weighed alike or by a gate."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        expert = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
        made = [nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)) for _ in range(3)]
        self.experts = nn.ModuleList(made if how == "drawn" else [copy.deepcopy(expert) for _ in range(3)])
        if how == "tied":
            self.experts = nn.ModuleList([expert] * 3)
        self.gate = nn.Linear(6, 3)
        if how != "gated":
            nn.init.zeros_(self.gate.weight)
            nn.init.zeros_(self.gate.bias)
        if how == "empty":
            nn.init.zeros_(self.experts[0].get_parameter("2.weight"))
            for each in self.experts:
                each.load_state_dict(self.experts[0].state_dict())
        self.drop = nn.Dropout(0.5 if how == "dropout" else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        each = torch.stack([self.drop(expert(x)) for expert in self.experts], dim=1)
        return (self.gate(x).softmax(dim=1)[:, :, None] * each).sum(dim=1)


@pytest.mark.parametrize(
    ("how", "copies"), [("copied", 3), ("drawn", 0), ("gated", 0), ("tied", 0), ("dropout", 0), ("empty", 3)]
)
def test_copies_that_get_the_same_gradient_stay_copies(how: str, copies: int) -> None:
    facts = facts_of(Experts(how), (X, Y), loss_fn=F.mse_loss)
    found = {name for name in facts.identical_modules if name.startswith("experts.") and name.count(".") == 1}
    assert len(found) == copies


def test_layers_of_a_transformer_that_were_copied_are_no_copies() -> None:
    """`nn.TransformerEncoder` makes deep copies of one layer, at depths that tell them apart."""
    torch.manual_seed(0)
    one = nn.TransformerEncoderLayer(6, 2, 12, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoder(one, 3, enable_nested_tensor=False)
    x = torch.randn(8, 5, 6, generator=RNG)
    assert facts_of(encoder, (x, x.flip(1)), loss_fn=F.mse_loss).identical_modules == ()


class Gained(nn.Module):
    """A gain for each channel between two layers, and a head of zeros behind, through which no gradient comes at first."""

    def __init__(self, gain: Tensor | None, *, head: float = 0.0, inside: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inside, self.gain = inside or nn.Linear(6, 8), None if gain is None else nn.Parameter(gain)
        self.head = nn.Linear(8, 1)
        nn.init.constant_(self.head.weight, head)

    def forward(self, x: Tensor) -> Tensor:
        h = self.inside(x)
        return self.head((h if self.gain is None else (h[:, :, None] * self.gain).mean(2)).tanh())


def constant(layer: nn.Module) -> nn.Module:
    nn.init.constant_(layer.get_parameter("weight"), 0.1)
    nn.init.zeros_(layer.get_parameter("bias"))
    return layer


@pytest.mark.parametrize("gain", [torch.ones(8, 1), 1e-6 * torch.ones(8, 1), torch.ones(8, 3)])
def test_gains_behind_a_head_of_zeros_are_no_layers(gain: Tensor) -> None:
    assert facts_of(Gained(gain), (X, Y), loss_fn=F.mse_loss).identical_units == ()


def test_layers_of_one_number_behind_a_head_of_zeros_stay_alike() -> None:
    assert facts_of(Gained(None, inside=constant(nn.Linear(6, 8))), (X, Y), loss_fn=F.mse_loss).identical_units == (
        "inside.weight",
    )
    one = Gained(None, head=0.1, inside=constant(nn.Linear(1, 8)))
    assert facts_of(one, (X[:, :1], Y), loss_fn=F.mse_loss).identical_units == ("inside.weight",)


def stays(weight: float, gradient: float) -> tuple[Any, ...]:
    return tuple(sample(i, layers=(layer("user", weight_rms=weight, gradient_rms=gradient),)) for i in (1, 21, 41))


@pytest.mark.parametrize(("weight", "gradient", "fires"), [(0.0, 0.0, True), (0.0, 1e-9, False), (0.1, 0.0, False)])
def test_zeros_without_a_gradient_stay(weight: float, gradient: float, fires: bool) -> None:
    codes = [f.code for f in diagnose(Evidence(samples=stays(weight, gradient))).findings]
    assert ("identical_units.zeros" in codes) == fires


@pytest.mark.parametrize(("steps", "unmoved", "fires"), [(20, True, True), (19, True, False), (20, False, False)])
def test_zeros_that_a_rehearsal_leaves_are_told_before(steps: int, unmoved: bool, fires: bool) -> None:
    evidence = Evidence(
        probe=probed((layer("user", weight_rms=0.0), layer())),
        facts=Facts(zero_gradient=("user.weight",)),
        rehearsal=rehearsed(steps, unmoved=("user.weight",) if unmoved else ()).rehearsal,
    )
    assert ("identical_units.zeros" in [f.code for f in diagnose(evidence).findings]) == fires


@pytest.mark.parametrize(
    ("kind", "managed", "severity"), [("parameter", 9, "hint"), ("parameter", 8, "warning"), ("linear", 9, "warning")]
)
def test_one_table_of_ten_parameters_may_stay_as_drawn(kind: str, managed: int, severity: str) -> None:
    settings = OptimizerSettings(name="SGD", lr=0.1, unmanaged=("table",), managed=managed)
    evidence = Evidence(probe=probed((layer("table", kind=kind), layer())), optimizer=settings)
    (found,) = [f for f in diagnose(evidence).findings if f.code == "untrained_parameter.unmanaged"]
    assert found.severity == severity


@pytest.mark.parametrize(("num_codes", "severity"), [(4, "hint"), (40, "warning")])
def test_it_is_their_numbers_that_count_and_not_their_tensors(num_codes: int, severity: str) -> None:
    class Codes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(16, 32)
            self.codes = nn.Parameter(torch.randn(num_codes, 8))

    model = Codes()
    settings = optimizer_settings(torch.optim.SGD(model.net.parameters(), 0.1), model)
    own = 16 * 32 + 32
    assert settings.unmanaged_share == pytest.approx(8 * num_codes / (8 * num_codes + own))
    evidence = Evidence(probe=probed((layer("codes", kind="parameter"), layer())), optimizer=settings)
    (found,) = [f for f in diagnose(evidence).findings if f.code == "untrained_parameter.unmanaged"]
    assert found.severity == severity


@pytest.mark.parametrize(
    ("pulled", "pushed", "repeated", "names", "fires"),
    [
        (3.4, 0.0, 0.0, 100, True),
        (3.6, 0.0, 0.0, 100, False),
        (-3.6, 0.0, 0.0, 100, False),
        (0.0, 20.0, 0.0, 100, False),
        (0.0, 0.0, 3.6, 100, False),
        (0.0, 0.0, -3.6, 100, False),
        (0.0, 0.0, 0.0, 101, False),
        (0.0, 0.0, None, 100, False),
    ],
)
def test_names_without_company_are_strangers(
    pulled: float, pushed: float, repeated: float | None, names: int, fires: bool
) -> None:
    facts = Facts(company=Company(num_pairs=1000, num_names=names, pulled=pulled, pushed=pushed, repeated=repeated))
    assert ("shuffled_labels.strangers" in [f.code for f in diagnose(Evidence(facts=facts)).findings]) == fires


@pytest.mark.parametrize(("how", "fires"), [("shuffled", True), ("circles", False), ("one each", False)])
def test_company_is_counted_in_the_loader(how: str, fires: bool) -> None:
    """Names of 60 and of 40: by chance, in four circles each, or one name for each."""
    rng = torch.Generator().manual_seed(2)
    one = torch.randint(60, (1200,), generator=rng)
    observed = one % 40 if how == "one each" else 4 * torch.randint(10, (1200,), generator=rng) + one % 4
    observed = observed[torch.randperm(1200, generator=rng)] if how == "shuffled" else observed
    drawn = torch.randint(40, (1200,), generator=rng)
    batches = [[t[i : i + 100] for t in (one, observed, drawn)] for i in range(0, 1200, 100)]
    torch.manual_seed(0)
    model = nn.ModuleDict({"one": nn.Embedding(60, 8), "other": nn.Embedding(40, 8)})

    def ranked(model: Any, batch: Any) -> Tensor:
        one, observed, drawn = model["one"](batch[0]), model["other"](batch[1]), model["other"](batch[2])
        return F.softplus((one * drawn).sum(dim=1) - (one * observed).sum(dim=1)).mean()

    facts = facts_of(model, batches[0], training_step=ranked, batches=batches)
    assert ("shuffled_labels.strangers" in [f.code for f in diagnose(Evidence(facts=facts)).findings]) == fires
