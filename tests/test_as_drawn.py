"""Frozen layers that are still as PyTorch drew them, beside frozen layers that are meant."""

import copy
import itertools
from collections.abc import Callable

import pytest
import torch
from rule_examples import CHANCE, steps
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import trainability
from trainability.doctor import Evidence, diagnose
from trainability.doctor.evidence import OptimizerSettings
from trainability.doctor.measure.as_drawn import frozen_as_drawn, frozen_head, is_fine_tuned
from trainability.doctor.measure.drawn_teacher import drawn_teacher
from trainability.doctor.measure.frozen_tables import random_tables


def convolutions() -> nn.Sequential:
    layers = [m for i in (3, 8, 8) for m in (nn.Conv2d(i, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())


def dense(width: int = 16, depth: int = 4) -> nn.Sequential:
    widths = [12] + [width] * depth
    return nn.Sequential(*(m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), nn.Tanh())))


def probe(encoder: nn.Module, head: nn.Module) -> nn.Module:
    return nn.ModuleDict({"encoder": encoder.requires_grad_(False), "head": head})


def trained(encoder: nn.Sequential) -> nn.Sequential:
    """After a few steps of Adam."""
    optimizer = torch.optim.Adam(encoder.parameters(), 3e-3)
    for _ in range(20):
        optimizer.zero_grad()
        x = torch.randn(32, 12)
        (encoder(x).mean(dim=1) - x[:, 0]).square().sum().backward()
        optimizer.step()
    return encoder


def half_loaded() -> nn.Module:
    encoder = dense()
    with torch.no_grad():
        for layer in list(encoder)[:4]:
            for p in layer.parameters():
                p.mul_(1.3)
    return probe(encoder, nn.Linear(16, 4))


def orthogonal() -> nn.Sequential:
    encoder = dense()
    for m in encoder:
        if isinstance(m, nn.Linear):
            nn.init.orthogonal_(m.weight)
    return encoder


def with_norms() -> nn.Module:
    model = convolutions()
    for m in model:
        m.requires_grad_(isinstance(m, nn.BatchNorm2d))
    return nn.Sequential(model, nn.Linear(32, 4))


def with_target() -> nn.Module:
    online = dense()
    target = dense()
    target.load_state_dict(online.state_dict())
    return nn.ModuleDict({"target": target.requires_grad_(False), "online": online, "head": nn.Linear(16, 4)})


def distilled() -> nn.Module:
    """A random network that is the target of one that learns."""
    return nn.ModuleDict({"target": dense().requires_grad_(False), "predictor": dense()})


CASES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "dense": (lambda: probe(dense(), nn.Linear(16, 4)), 4),
    "convolutions": (lambda: probe(convolutions(), nn.Linear(32, 4)), 3),
    "convolutions in half precision": (lambda: probe(convolutions().bfloat16(), nn.Linear(32, 4)), 3),
    "behind a recurrent layer": (lambda: probe(dense(), nn.GRU(16, 4)), 4),
    "half of them": (half_loaded, 2),
    "trained": (lambda: probe(trained(dense()), nn.Linear(16, 4)), 0),
    "orthogonal": (lambda: probe(orthogonal(), nn.Linear(16, 4)), 0),
    "trainable": (lambda: nn.Sequential(dense(), nn.Linear(16, 4)), 0),
    "norms between": (with_norms, 0),
    "target network": (with_target, 0),
    "random target": (distilled, 0),
}


@pytest.mark.parametrize(("made", "count"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("seed", range(5))
def test_frozen_layers_that_nothing_was_loaded_into(made: Callable[[], nn.Module], count: int, seed: int) -> None:
    torch.manual_seed(seed)
    assert len(frozen_as_drawn(made())) == count


def test_the_draw_is_known_by_its_distribution() -> None:
    torch.manual_seed(0)
    found = [len(frozen_as_drawn(probe(dense(64, 8), nn.Linear(64, 4)))) for _ in range(25)]
    assert sum(found) >= 0.99 * 25 * 8


def vectors(rows: int = 200, columns: int = 16) -> torch.Tensor:
    """As a trained table has them: with directions in common, and rows of different sizes."""
    common = torch.randn(rows, 4) @ torch.randn(4, columns) + 0.5 * torch.randn(rows, columns)
    return common * torch.linspace(0.5, 1.5, rows)[:, None]


def padded() -> torch.Tensor:
    table = torch.randn(200, 16)
    table[0] = 0.0
    return table


TABLES: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "normal": (lambda: nn.Embedding.from_pretrained(0.3 * torch.randn(200, 16)), True),
    "uniform": (lambda: nn.Embedding.from_pretrained(torch.rand(200, 16) - 0.5), True),
    "with a row of padding": (lambda: nn.Embedding.from_pretrained(padded()), True),
    "trained vectors": (lambda: nn.Embedding.from_pretrained(vectors()), False),
    "few numbers": (lambda: nn.Embedding.from_pretrained(torch.randn(40, 8)), False),
    "not frozen": (lambda: nn.Embedding.from_pretrained(torch.randn(200, 16), freeze=False), False),
    "a teacher's": (lambda: nn.ModuleList([nn.Embedding(200, 16), nn.Embedding.from_pretrained(torch.randn(200, 16))]), False),
    "sines": (
        lambda: nn.Embedding.from_pretrained(torch.sin(torch.arange(200.0)[:, None] / torch.logspace(0, 3, 16))),
        False,
    ),
}


@pytest.mark.parametrize(("made", "is_noise"), TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("seed", range(5))
def test_frozen_tables_of_random_numbers(made: Callable[[], nn.Module], is_noise: bool, seed: int) -> None:
    torch.manual_seed(seed)
    assert bool(random_tables(made())) == is_noise


@pytest.mark.parametrize(("loss", "severity"), [(1.9, "warning"), (1.8, "hint")])
def test_a_random_table_is_a_warning_where_little_is_learned(loss: float, severity: str) -> None:
    settings = OptimizerSettings(name="Adam", lr=1e-3, managed=2, frozen=("words.weight",), frozen_noise=("words.weight",))
    seen = Evidence(optimizer=settings, steps=steps([CHANCE] * 20 + [loss] * 200), num_classes=10)
    found = {f.code: f.severity for f in diagnose(seen).findings}
    assert found.get("untrained_parameter.as_drawn") == severity


@pytest.mark.parametrize(("layers", "severity"), [(8, "warning"), (7, "hint"), (2, "hint"), (1, None)])
def test_a_few_random_layers_may_be_meant(layers: int, severity: str | None) -> None:
    names = tuple(f"encoder.{k}" for k in range(layers))
    settings = OptimizerSettings(name="Adam", lr=1e-3, managed=2, frozen=names, frozen_as_drawn=names)
    found = {f.code: f.severity for f in diagnose(Evidence(optimizer=settings)).findings}
    assert found.get("untrained_parameter.as_drawn") == severity
    assert ("untrained_parameter.frozen" in found) == (severity is None)


@pytest.mark.parametrize(("loss", "severity"), [(1.9, "warning"), (1.8, "hint")])
def test_random_layers_of_a_run_that_learns_little_are_a_warning(loss: float, severity: str) -> None:
    names = ("encoder.0", "encoder.2", "encoder.4")
    settings = OptimizerSettings(name="Adam", lr=1e-3, managed=2, frozen=names, frozen_as_drawn=names)
    seen = Evidence(optimizer=settings, steps=steps([CHANCE] * 20 + [loss] * 200), num_classes=10)
    found = {f.code: f.severity for f in diagnose(seen).findings}
    assert found.get("untrained_parameter.as_drawn") == severity


class Classifier(nn.Module):
    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder.requires_grad_(False), head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(x))


@pytest.mark.parametrize(("width", "depth", "severity"), [(8, 7, "warning"), (64, 2, "hint")])
def test_random_layers_that_what_is_trained_learns_from_are_a_hint(width: int, depth: int, severity: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(512, 12)
    y = (x @ torch.randn(12, 4)).argmax(dim=1)
    model = Classifier(dense(width, depth), nn.Linear(width, 4))
    loader = DataLoader(TensorDataset(x, y), 32, shuffle=True)
    optimizer = torch.optim.Adam(model.head.parameters(), 1e-2)
    said = trainability.check(model, loader, loss_fn=F.cross_entropy, optimizer=optimizer, rehearse_seconds=4)
    assert {f.code: f.severity for f in said.findings}.get("untrained_parameter.as_drawn") == severity


def taught_by(teacher: nn.Module, **options: bool) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], torch.Tensor]:
    """A step that learns what a teacher says of the batch."""

    def step(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        with torch.set_grad_enabled(options.get("by_gradient", False)):
            wanted = teacher(batch[0])
        loss = F.mse_loss(model(batch[0]), wanted if options.get("used", True) else torch.zeros_like(wanted))
        return loss + F.cross_entropy(model(batch[0]), batch[1]) if options.get("labels") else loss

    return step


@pytest.mark.parametrize("labels", [False, True])
def test_a_teacher_without_loaded_weights_is_found(labels: bool) -> None:
    torch.manual_seed(0)
    batch = (torch.randn(32, 12), torch.randint(0, 4, (32,)))
    teacher = nn.Sequential(*dense(), nn.Linear(16, 4)).eval()
    found = drawn_teacher(nn.Linear(12, 4), batch, taught_by(teacher, labels=labels))
    assert found == ("Sequential", 5)


@pytest.mark.parametrize("kind", ["trained", "copy", "no labels", "trained with the model", "unused", "one layer"])
def test_teachers_that_may_be_meant_are_left_out(kind: str) -> None:
    torch.manual_seed(0)
    batch = (torch.randn(32, 12), torch.randint(0, 4, (32,)))
    teacher = nn.Sequential(*(trained(dense()) if kind == "trained" else dense()), nn.Linear(16, 4))
    model: nn.Module = nn.Linear(12, 4)
    if kind == "copy":
        model = copy.deepcopy(teacher)
    if kind == "one layer":
        teacher = nn.Sequential(nn.Linear(12, 4))
    step = taught_by(teacher, used=kind != "unused", by_gradient=kind == "trained with the model")
    assert drawn_teacher(model, batch[:1] if kind == "no labels" else batch, step) is None


def test_a_check_says_that_the_teacher_was_never_trained() -> None:
    torch.manual_seed(0)
    x = torch.randn(256, 12)
    loader = DataLoader(TensorDataset(x, (x @ torch.randn(12, 4)).argmax(dim=1)), 32, shuffle=True)
    model, teacher = nn.Linear(12, 4), nn.Sequential(*dense(), nn.Linear(16, 4))
    said = trainability.check(
        model,
        loader,
        training_step=taught_by(teacher),
        optimizer=torch.optim.Adam(model.parameters(), 1e-2),
        rehearse_seconds=2,
    )
    assert {f.code: f.severity for f in said.findings}.get("untrained_parameter.teacher") == "warning"


@pytest.mark.parametrize(("kind", "severity"), [("loaded", "hint"), ("drawn", "warning"), ("he", "warning")])
def test_a_loaded_network_whose_new_head_alone_is_trained_is_a_hint(kind: str, severity: str) -> None:
    torch.manual_seed(0)
    encoder = trained(dense()) if kind == "loaded" else dense()
    for layer in encoder if kind == "he" else ():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    model = nn.Sequential(encoder, nn.Linear(16, 4))
    x = torch.randn(256, 12)
    loader = DataLoader(TensorDataset(x, (x @ torch.randn(12, 4)).argmax(dim=1)), 32, shuffle=True)
    optimizer = torch.optim.Adam(model[1].parameters(), 1e-2)
    said = trainability.check(model, loader, loss_fn=F.cross_entropy, optimizer=optimizer, rehearse_seconds=2)
    assert {f.code: f.severity for f in said.findings}.get("untrained_parameter.unmanaged") == severity


def test_a_parameter_in_no_optimizer_is_said_beside_a_rate_that_dies() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(dense(), nn.Linear(16, 4))
    x = torch.randn(512, 12)
    loader = DataLoader(TensorDataset(x, (x @ torch.randn(12, 4)).argmax(dim=1)), 32, shuffle=True)
    optimizer = torch.optim.SGD(model[0].parameters(), 0.05)
    said = trainability.check(
        model,
        loader,
        loss_fn=F.cross_entropy,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5),
        rehearse_seconds=2,
    )
    assert {"rate_dies", "untrained_parameter.unmanaged"} <= {f.code for f in said.findings}


def test_lazy_layers_are_checked() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(4))
    x = torch.randn(64, 12)
    loader = DataLoader(TensorDataset(x, (x @ torch.randn(12, 4)).argmax(dim=1)), 32)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    said = trainability.check(model, loader, loss_fn=F.cross_entropy, optimizer=optimizer, rehearse_seconds=1)
    assert "untrained_parameter" not in {f.rule for f in said.findings}


@pytest.mark.parametrize("kind", ["peer", "twin", "features", "drifting"])
def test_networks_beside_the_model_that_are_no_teachers(kind: str) -> None:
    torch.manual_seed(0)
    batch = (torch.randn(32, 12), torch.randint(0, 4, (32,)))
    other = nn.Sequential(*dense(), nn.Linear(16, 4))
    own = torch.optim.SGD(other.parameters(), 0.1) if kind == "peer" else None
    model: nn.Module = nn.Linear(4 if kind == "features" else 12, 4)
    if kind == "twin":
        model = nn.Sequential(*dense(), nn.Linear(16, 4))
    calls: list[None] = []

    def step(student: nn.Module, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
        calls.append(None)
        with torch.no_grad():
            made = other(given[0])
        if kind == "features":
            return F.cross_entropy(student(made), given[1])
        drift = 0.1 * len(calls) if kind == "drifting" else 0.0
        return F.mse_loss(student(given[0]), made) + drift

    assert drawn_teacher(model, batch, step) is None
    assert own is None or own.param_groups


# ---------------------------------------------------------------------------------------------------- a new last layer


def tuned(kind: str) -> nn.Sequential:
    """A trained network with a new last layer, of which one part or another is trained."""
    torch.manual_seed(0)
    body = trained(dense(depth=2)) if kind != "from scratch" else dense(depth=2)
    model = nn.Sequential(*body, nn.Linear(16, 16), nn.Linear(16, 8)).requires_grad_(False)
    if kind == "loaded head":
        with torch.no_grad():
            for p in model[-1].parameters():
                p.mul_(1.3)
    with torch.no_grad():
        for p in model[-2].parameters():  # not as it was drawn
            p.mul_(1.5)
    trains = {"body": 0, "head": -1}.get(kind, 2)
    model[trains].requires_grad_(True)
    return model


@pytest.mark.parametrize(
    ("kind", "found"), [("body", "5"), ("middle", "5"), ("head", None), ("loaded head", None), ("from scratch", None)]
)
def test_a_new_last_layer_that_is_frozen_with_the_old_ones(kind: str, found: str | None) -> None:
    model = tuned(kind)
    assert frozen_head(model, torch.randn(8, 12), lambda model, batch: model(batch).square().mean()) == found


@pytest.mark.parametrize("kind", ["momentum", "projection"])
def test_fixed_layers_through_which_no_gradient_passes_are_meant(kind: str) -> None:
    """A copy that follows by momentum, with a scheme's weights before its default head; a random projection for targets."""
    torch.manual_seed(0)
    body = trained(dense(depth=2))
    online = nn.Sequential(*copy.deepcopy(body), nn.Linear(16, 8))
    target = nn.Sequential(*(copy.deepcopy(body) if kind == "momentum" else body), nn.Linear(16, 8)).requires_grad_(False)
    if kind == "momentum":
        target.load_state_dict(online.state_dict())
    model = nn.ModuleDict({"online": online, "target": target})

    def forward(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(model["online"](batch), model["target"](batch))

    assert frozen_head(model, torch.randn(8, 12), forward) is None


@pytest.mark.parametrize(("kind", "found"), [("trained", True), ("new head", True), ("scratch", False), ("kaiming", False)])
def test_weights_that_were_trained_before(kind: str, found: bool) -> None:
    torch.manual_seed(0)
    body = dense(depth=3) if kind in ("scratch", "kaiming") else trained(dense(depth=3))
    for m in body if kind == "kaiming" else ():
        if isinstance(m, nn.Linear):
            nn.init.kaiming_normal_(m.weight)
            nn.init.zeros_(m.bias)
    model = nn.Sequential(*body, nn.Linear(16, 8)) if kind == "new head" else body
    assert is_fine_tuned(model) is found
