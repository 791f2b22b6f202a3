"""Certain facts of mistakes that symptoms hide: each seen by its fact, and not on the sound program beside it."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from rule_examples import CHANCE, FALLING, FLAT, probed, rehearsed, steps
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import trainability
from trainability.doctor import Evidence, Monitor, diagnose
from trainability.doctor.audit_results import DataAudit
from trainability.doctor.evidence import OptimizerSettings
from trainability.doctor.facts import Facts, LossGraph
from trainability.doctor.measure.audits import audit_data
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.graph import loss_graph
from trainability.doctor.measure.ignored import drowned_by_padding
from trainability.doctor.measure.rehearsal import rehearse
from trainability.doctor.measure.told_targets import LOSSES, told_constants
from trainability.doctor.measure.twins import near_constant
from trainability.doctor.rehearsed import Observation, Rehearsal, Task
from trainability.doctor.rules.smaller_steps import smaller_steps, warmed_up


def codes(evidence: Evidence) -> dict[str, str]:
    return {f.code: f.severity for f in diagnose(evidence).findings}


def overlap(act: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        p = act(output)
        return 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)

    return loss


@pytest.mark.parametrize(
    ("loss", "has_pole"),
    [
        (overlap(lambda x: x), True),
        (overlap(torch.sigmoid), False),
        (lambda o, y: ((o - y) ** 2 + 0.1 * o.abs()).mean(), False),
        (lambda o, y: 1 - torch.cosine_similarity(o.flatten(), y.flatten(), dim=0), False),
        (lambda o, y: ((o > 0.3).float() * o * 50 + (o - y) ** 2).mean(), False),
    ],
    ids=["raw", "sigmoid", "distance", "cosine", "step"],
)
def test_an_overlap_of_raw_outputs_has_a_pole(loss: Any, has_pole: bool) -> None:
    torch.manual_seed(0)
    target = (torch.rand(8, 1, 6, 6) < 0.2).float()
    facts = facts_of(nn.Conv2d(1, 1, 3, padding=1), (torch.randn(8, 1, 6, 6), target), loss_fn=loss)
    assert ("loss_below_floor.pole" in codes(Evidence(facts=facts))) == has_pole
    if has_pole:  # the sum below the line is zero there
        assert facts.pole == pytest.approx(-float(target.sum() + 1) / target.numel(), rel=1e-3)


class Twice(nn.Module):
    """Two networks that are the same one, called on an image and its mirror image."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


@pytest.mark.parametrize(("act", "has_pole"), [(lambda x: x, True), (torch.sigmoid, False)])
def test_an_overlap_of_two_calls_has_a_pole(act: Callable[[Tensor], Tensor], has_pole: bool) -> None:
    torch.manual_seed(0)
    target = (torch.rand(8, 1, 6, 6) < 0.2).float()

    def step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, marks = batch
        return overlap(act)(model(images), marks) + overlap(act)(model(images.flip(3)).flip(3), marks)

    facts = facts_of(Twice(), (torch.randn(8, 1, 6, 6), target), training_step=step)
    assert ("loss_below_floor.pole" in codes(Evidence(facts=facts))) == has_pole


class Made(nn.Module):
    """A last layer that is made in forward, or before; another network beside it, or a change of the inputs."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.body, self.head, self.kind = nn.Linear(6, 8), nn.Linear(8, 3), kind
        self.teacher = [nn.Linear(6, 8)]

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "adversarial":
            x = x + nn.Parameter(1e-3 * torch.randn_like(x))
        if self.kind == "augmented" and self.training:
            x = nn.Linear(6, 6)(x)
        h = self.body(x).relu()
        if self.kind == "teacher":
            h = h + self.teacher[0](x)
        return nn.Linear(8, 3)(h) if self.kind == "in forward" else self.head(h)


@pytest.mark.parametrize("kind", ["in forward", "before", "teacher", "adversarial", "augmented"])
def test_a_layer_that_forward_makes_is_another_in_each_pass(kind: str) -> None:
    torch.manual_seed(0)
    facts = facts_of(Made(kind), (torch.randn(16, 6), torch.arange(16) % 3), loss_fn=F.cross_entropy)
    found = codes(Evidence(facts=facts))
    assert ("unregistered_layers.made_in_forward" in found) == (kind == "in forward")
    assert facts.made_anew == (((3, 8),) if kind == "in forward" else ())


def rows(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.flatten(0, 1), target.flatten())


def columns(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.flatten(0, 1), target.t().flatten())


class Tagger(nn.Module):
    """A class for each step; the output may have the steps first."""

    def __init__(self, turned: bool = False) -> None:
        super().__init__()
        self.words, self.head, self.turned = nn.Embedding(20, 8), nn.Linear(8, 5), turned

    def forward(self, x: Tensor) -> Tensor:
        output = self.head(self.words(x))
        return output.transpose(0, 1) if self.turned else output


@pytest.mark.parametrize("length", [9, 12])
@pytest.mark.parametrize(
    ("turned", "loss", "is_wrong"),
    [(False, columns, True), (False, rows, False), (True, columns, False)],
    ids=["targets", "neither", "both"],
)
def test_targets_that_are_transposed_alone(length: int, turned: bool, loss: Any, is_wrong: bool) -> None:
    torch.manual_seed(0)
    batch = (torch.randint(20, (12, length)), torch.randint(5, (12, length)))
    facts = facts_of(Tagger(turned), batch, loss_fn=loss)
    assert (facts.misaligned is not None) == is_wrong
    assert ("shuffled_labels.misaligned" in codes(Evidence(facts=facts))) == is_wrong


@pytest.mark.parametrize(
    ("momentum", "rows", "drop", "severity"),
    [
        (0.99, 66, False, "warning"),
        (0.9, 49, False, "warning"),
        (0.99, 66, True, None),
        (0.99, 64, False, None),
        (0.1, 65, False, None),
        (0.5, 72, False, None),
        (None, 65, False, None),
        (1.0, 16, False, None),
    ],
)
@pytest.mark.parametrize("as_list", [False, True])
def test_a_norm_that_keeps_a_small_last_batch_alone(
    momentum: float | None, rows: int, drop: bool, severity: str | None, as_list: bool
) -> None:
    rng = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.randn(rows, 4, generator=rng), torch.arange(rows) % 3)
    loader: Any = DataLoader(data, 16, drop_last=drop)
    loader = list(loader) if as_list else loader
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, momentum=momentum), nn.ReLU(), nn.Linear(8, 3))
    facts = facts_of(model, next(iter(loader)), loss_fn=F.cross_entropy, batches=loader)
    assert codes(Evidence(facts=facts)).get("evaluation_path.last_batch") == severity


def test_a_norm_of_another_convention_is_a_hint_where_the_last_batch_is_not_known() -> None:
    for momentum, severity in ((0.99, "hint"), (0.8, None), (1.0, None)):
        found = codes(Evidence(facts=Facts(fast_statistics=("1", momentum))))
        assert found.get("evaluation_path.last_batch") == severity


class OwnNorm(nn.Module):
    """Batch norm by its formula, with statistics that are fixed, or follow the batches."""

    def __init__(self, width: int, momentum: float = 0.0) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        if self.training and self.momentum:
            mean.lerp_(x.detach().mean(dim=0), self.momentum)
            variance.lerp_(x.detach().var(dim=0), self.momentum)
        return (x - mean) * (variance + 1e-5).rsqrt()


class Beside(nn.Module):
    """Keeps a network that it does not run."""

    def __init__(self, kept: nn.Module) -> None:
        super().__init__()
        self.kept = kept

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.parametrize("kind", ["fixed", "follows", "loaded", "one", "of PyTorch", "unused"])
def test_norms_of_a_new_net_that_do_nothing(kind: str) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm1d if kind == "of PyTorch" else lambda width: OwnNorm(width, 0.1 if kind == "follows" else 0.0)
    model = nn.Sequential(nn.Linear(6, 16), norm(16), nn.ReLU(), nn.Linear(16, 16), norm(16), nn.ReLU(), nn.Linear(16, 3))
    if kind == "one":
        model[4] = nn.Identity()
    if kind == "loaded":
        nn.init.normal_(model[0].weight, 0.0, 0.4)
        nn.init.normal_(model[3].weight, 0.0, 0.2)
    if kind == "unused":  # as of another domain, or of an average that evaluation uses
        model = nn.Sequential(nn.Linear(6, 3), Beside(model))
    facts = facts_of(model, (torch.randn(64, 6), torch.arange(64) % 3), loss_fn=F.cross_entropy)
    assert facts.readings.idle_norms == (("1", "4") if kind == "fixed" else ())
    assert codes(Evidence(facts=facts)).get("untrained_parameter.norm") == ("warning" if kind == "fixed" else None)


def test_a_norm_that_keeps_the_statistics_of_its_start() -> None:
    found = {}
    for momentum in (1e-4, 0.1, None):
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, momentum=momentum), nn.Linear(8, 3))
        facts = facts_of(model, (torch.randn(16, 4), torch.arange(16) % 3), loss_fn=F.cross_entropy)
        found[momentum] = facts.slow_statistics
    assert found == {1e-4: ("1", 1e-4), 0.1: None, None: None}
    planned = {
        n: Evidence(facts=Facts(slow_statistics=("1", 1e-3)), rehearsal=Rehearsal(steps=(), planned_steps=n))
        for n in (600, 800)
    }
    assert "evaluation_path.statistics" in codes(planned[600])  # 0.999 ** 693 is a half
    assert "evaluation_path.statistics" not in codes(planned[800])


@pytest.mark.parametrize(
    ("loss", "warns"),
    [
        (nn.MSELoss(reduction="sum"), True),
        (lambda o, y: F.smooth_l1_loss(o, y, reduction="none").sum(), True),
        (lambda o, y: (o - y).square().sum(), True),
        (nn.MSELoss(), False),
        (lambda o, y: F.mse_loss(o, y) * 24, False),
        (lambda o, y: (o - y).square().sum(dim=1).mean(), False),
        (lambda o, y: (o - y).square().sum() / len(o), False),
    ],
)
def test_a_sum_is_read_off_the_graph(loss: Any, warns: bool) -> None:
    torch.manual_seed(0)
    facts = facts_of(nn.Linear(4, 3), (torch.randn(8, 4), torch.randn(8, 3)), loss_fn=loss)
    assert facts.graph is not None
    assert facts.graph.sums == (24 if warns else None)
    sgd = OptimizerSettings(name="SGD", lr=0.1)
    found = codes(Evidence(facts=facts, optimizer=sgd, steps=steps([30.0, 900.0, math.nan])))
    assert found.get("sum_for_mean.terms") == ("warning" if warns else None)
    learned = codes(Evidence(facts=facts, optimizer=sgd, steps=steps([30 * math.exp(-i / 40) for i in range(200)])))
    assert learned.get("sum_for_mean.terms") == ("hint" if warns else None)


def test_a_binary_loss_is_no_part_of_the_cross_entropy() -> None:
    one = {"loss": math.log(2), "cross_entropy": math.log(4), "num_logits": 4}
    shown = {"sigmoid": None, "log_softmax": "warning", None: None}
    for takes, severity in shown.items():
        evidence = Evidence(probe=probed(**one), facts=Facts(graph=LossGraph(takes=takes)), num_classes=4)
        assert codes(evidence).get("loss_divided") == severity
    hidden = Evidence(probe=probed(**one), facts=Facts(graph=LossGraph(has_opaque_parts=True)), num_classes=4)
    assert codes(hidden).get("loss_divided") == "hint"


def test_what_goes_through_another_players_weights_costs_no_known_constant() -> None:
    torch.manual_seed(0)
    maker, judge = nn.Linear(3, 2), nn.Linear(2, 1)
    alone = F.binary_cross_entropy_with_logits(judge(torch.randn(8, 2)), torch.ones(8, 1))
    fooled = F.binary_cross_entropy_with_logits(judge(maker(torch.randn(8, 3))), torch.ones(8, 1))
    graphs = [loss_graph(alone, judge), loss_graph(fooled, maker), loss_graph(fooled, nn.Sequential(maker, judge))]
    costs = [graph.cost_of_zeros for graph in graphs if graph is not None]
    assert costs == [math.log(2), None, math.log(2)]


def test_a_gradient_of_zero_tells_no_targets() -> None:
    output = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    told = dict(zip(LOSSES, told_constants(output, torch.zeros_like(output), 0.0).tolist(), strict=False))
    assert math.isnan(told["mse_loss"])
    told = dict(zip(LOSSES, told_constants(output, output / 32, (output**2 / 4).mean()).tolist(), strict=False))
    assert told["mse_loss"] >= 0  # targets of half the output


@pytest.mark.parametrize(("packed", "drowns"), [(False, True), (True, False)])
def test_padding_drowns_the_words(packed: bool, drowns: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.lstm, self.head = nn.Embedding(30, 8), nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            h: Any = self.words(x)
            if not packed:
                return self.head(self.lstm(h)[0][:, -1])
            last = (x > 0).int().cumsum(dim=1).argmax(dim=1)
            return self.head(self.lstm(h)[0][torch.arange(len(x)), last])

    torch.manual_seed(0)
    x = torch.randint(1, 30, (8, 40)) * (torch.arange(40) < torch.randint(4, 9, (8, 1)))
    share = drowned_by_padding(Net(), (x,))
    assert share is not None
    assert (share < 0.01) == drowns
    assert drowned_by_padding(Net(), (torch.randint(1, 30, (8, 40)),)) is None
    facts = Facts(drowned=share)
    stuck = codes(Evidence(facts=facts, steps=steps(FLAT[:200]), num_classes=10))
    assert ("vanishing_gradient.padding" in stuck) == drowns
    assert "vanishing_gradient.padding" not in codes(Evidence(facts=facts, steps=steps(FALLING), num_classes=10))


def test_weights_around_one() -> None:
    torch.manual_seed(0)
    facts = {}
    for mean in (1.0, 0.0):
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
        for layer in (model[0], model[2], model[4]):
            nn.init.normal_(layer.weight, mean, 0.02)  # type: ignore[arg-type]
        facts[mean] = facts_of(model, (torch.randn(16, 4), torch.randn(16, 1)), loss_fn=F.mse_loss)
    assert facts[1.0].near_constant == ("0", "2", "4")
    assert facts[0.0].near_constant == ()
    assert codes(Evidence(facts=facts[1.0]))["identical_units.nearly"] == "warning"


def nearly(parted: tuple[str, ...], *, last: float = 0.5, chance: float = 0.9) -> Evidence:
    """Two layers of weights that are nearly one number, some of which part over a rehearsal."""
    looks = (Observation(step=0, loss=1.0), Observation(step=30, loss=last))
    task = Task(kind="regression", loss="mse_loss", target="[1]", chance=chance)
    return dataclasses.replace(rehearsed(parted=parted, reference=looks, task=task), facts=Facts(near_constant=("0", "2")))


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (nearly(("0.weight",)), "hint"),
        (nearly(("0.weight", "2.weight")), "hint"),
        (nearly(()), "warning"),
        (nearly(("0.weight", "2.weight"), last=1.1, chance=2.0), "warning"),  # blown apart
        (nearly(("0.weight", "2.weight"), chance=0.4), "warning"),  # from far above chance
    ],
)
def test_weights_around_a_constant_that_part(evidence: Evidence, expected: str) -> None:
    assert codes(evidence)["identical_units.nearly"] == expected


@pytest.mark.parametrize(("last", "parted", "expected"), [(19, (), None), (20, (), "warning"), (20, ("0",), "hint")])
def test_a_watched_run_shows_whether_weights_part(last: int, parted: tuple[str, ...], expected: str | None) -> None:
    facts = Facts(near_constant=("0", "2"), parted=parted)
    assert codes(Evidence(facts=facts, steps=steps(FALLING[:last]))).get("identical_units.nearly") == expected


@pytest.mark.parametrize("lr", [1e-4, 0.1])
def test_rehearsal_and_monitor_measure_whether_weights_part(lr: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    for at in (0, 2):
        nn.init.normal_(model[at].weight, 0.5, 0.01)  # type: ignore[arg-type]
    batches = [(torch.randn(32, 4), torch.randn(32, 1)) for _ in range(30)]
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    tried = rehearse(model, optimizer, batches, loss_fn=F.mse_loss, max_steps=30)
    with Monitor(model, optimizer) as monitor:
        for x, y in batches:
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    facts = monitor.evidence().facts
    assert facts is not None
    assert tried.parted == tuple(f"{name}.weight" for name in facts.parted)
    assert facts.near_constant == ("0", "2")
    assert bool(facts.parted) == (lr > 1e-2)


@pytest.mark.parametrize(("units", "found"), [(1, ()), (2, ("0", "1"))])
def test_a_single_unit_may_start_at_one_constant(units: int, found: tuple[str, ...]) -> None:
    heads = nn.ModuleList(nn.Linear(16, units) for _ in range(2))
    for head in heads:
        nn.init.constant_(head.get_parameter("weight"), 1 / 16)
    assert near_constant(heads) == found


@pytest.mark.parametrize(
    ("scale", "noise", "found"), [(5.0, 0.0, "error"), (1.0, 0.0, None), (1.0, 0.06, None), (1.0, 0.2, "error")]
)
def test_softmax_under_a_difference(scale: float, noise: float, found: str | None) -> None:
    torch.manual_seed(0)
    target = (scale * (2 * torch.randn(16, 6)).softmax(dim=1) + noise * torch.randn(16, 6)).clamp(min=0)
    assert bool(((target.sum(dim=1) - 1).abs() > 0.1).any()) == (scale > 1 or noise > 0)
    facts = facts_of(nn.Sequential(nn.Linear(4, 6), nn.Softmax(dim=1)), (torch.randn(16, 4), target), loss_fn=F.mse_loss)
    assert codes(Evidence(facts=facts)).get("unreachable_target.softmax") == found


@pytest.mark.parametrize(("classes", "found"), [(1, True), (2, False)])
def test_masks_of_one_class(classes: int, found: bool) -> None:
    masks = torch.randint(classes, (128, 4, 4), generator=torch.Generator().manual_seed(0))
    loader = DataLoader(TensorDataset(torch.randn(128, 1, 4, 4), masks), 16)
    audit: DataAudit = audit_data(loader)
    task = Task(kind="pixel_classification", loss="cross_entropy", target="[1]")
    evidence = Evidence(data=audit, rehearsal=Rehearsal(steps=(), task=task), facts=Facts(target_shape=(16, 4, 4)))
    assert ("class_imbalance.one_class" in codes(evidence)) == found
    other = dataclasses.replace(
        evidence, rehearsal=Rehearsal(steps=(), task=Task(kind="regression", loss="mse_loss", target="[1]"))
    )
    assert "class_imbalance.one_class" not in codes(other)


def test_batches_of_steps_by_examples_are_in_doubt_unless_a_loader_stacked_them() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.gru, self.head = nn.Embedding(30, 8), nn.GRU(8, 8), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.gru(self.words(x))[0])

    torch.manual_seed(0)
    x, y = torch.randint(30, (12, 20)), torch.randint(4, (12, 20))
    severities = []
    for loader in ([(x, y)], DataLoader(TensorDataset(x, y), 12)):
        facts = facts_of(Mixed(), (x, y), loss_fn=rows, batches=loader)
        severities.append(codes(Evidence(facts=facts)).get("batch_leakage.sequences"))
    assert severities == ["hint", "warning"]


def test_what_mixes_the_batch_explains_tokens_that_see_later_ones() -> None:
    facts = Facts(leakage=0.1, future=0.1, output_shape=(8, 9, 10))
    (first,) = diagnose(Evidence(facts=facts)).findings
    assert first.rule == "batch_leakage"
    assert "sees_future" in first.explains
    assert set(codes(Evidence(facts=dataclasses.replace(facts, leakage=0.0)))) == {"sees_future"}


@pytest.mark.parametrize(("planned", "said"), [(120, "12 steps"), (100_000, "300 steps")])
def test_a_warm_up_is_short_beside_the_run(planned: int, said: str) -> None:
    assert said in warmed_up(Evidence(optimizer=OptimizerSettings(name="Adam", lr=0.05, planned_steps=planned)))


@pytest.mark.parametrize(("divisor", "same_factor"), [(50.0, False), (0.02, True)])
def test_rates_of_other_groups_follow_where_all_are_raised(divisor: float, same_factor: bool) -> None:
    remedy = smaller_steps(Evidence(optimizer=OptimizerSettings(name="Adam", lr=0.05, num_rates=2)), divisor)
    assert ("factor, 40" in remedy) == same_factor  # 2 as it is written, over 0.05


@pytest.mark.parametrize(("momentum", "rate"), [(0.0, 0.2), (0.9, 0.02)])
def test_a_rate_is_proposed_by_the_first_slope(momentum: float, rate: float) -> None:
    # A loss of 2.4 and a gradient of norm 2: the slope is at zero after a rate of 0.6, and a third of that is proposed.
    sgd = OptimizerSettings(name="SGD", lr=20.0, momentum=momentum)
    run = steps([2.4, *[CHANCE] * 150], gradient_norm=2.0, lr=20.0)
    assert f"lr={rate:g})" in smaller_steps(Evidence(optimizer=sgd, steps=run))


@pytest.mark.parametrize(
    ("norm", "size", "severity"),
    [
        (nn.BatchNorm1d(8, track_running_stats=False), 1, "warning"),
        (nn.BatchNorm1d(8, track_running_stats=False), 32, "hint"),
        (nn.BatchNorm1d(8, track_running_stats=False), None, "hint"),
        (nn.BatchNorm1d(8), 1, None),
        (nn.Sequential(nn.Unflatten(1, (4, 2)), nn.InstanceNorm1d(4), nn.Flatten()), 1, None),
    ],
)
def test_evaluation_by_the_statistics_of_small_batches(norm: nn.Module, size: int | None, severity: str | None) -> None:
    torch.manual_seed(0)
    x = torch.randn(512, 4)
    parts = [TensorDataset(part, part[:, :3].argmax(dim=1)) for part in x.split(256)]
    model = nn.Sequential(nn.Linear(4, 8), norm, nn.ReLU(), nn.Linear(8, 3))
    found = trainability.check(
        model,
        DataLoader(parts[0], 32, shuffle=True),
        F.cross_entropy,
        torch.optim.SGD(model.parameters(), 0.1),
        val_loader=DataLoader(parts[1], size) if size else None,
        rehearse_seconds=0,
    )
    assert {f.code: f.severity for f in found.findings}.get("evaluation_path.no_statistics") == severity


@pytest.mark.parametrize("given", ["loss_fn", "training_step"])
def test_an_optimizer_of_another_model_is_told_beside_the_right_one(given: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(256, 4)
    loader = DataLoader(TensorDataset(x, x[:, :3].argmax(dim=1)), 32, shuffle=True)
    model, other = (nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)) for _ in range(2))
    right, wrong = (torch.optim.Adam(each.parameters(), 1e-2) for each in (model, other))
    loop: dict[str, Any] = {"loss_fn": F.cross_entropy}
    if given == "training_step":
        loop = {"training_step": lambda m, b: F.cross_entropy(m(b[0]), b[1])}
    found = trainability.check(model, loader, optimizer=wrong, rehearse_seconds=5, **loop)
    assert found.findings[0].code == "foreign_optimizer"
    found = trainability.check(model, loader, optimizer=right, rehearse_seconds=5, **loop)
    assert "foreign_optimizer" not in {f.code for f in found.findings}
