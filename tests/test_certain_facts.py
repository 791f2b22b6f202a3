"""One small program for each certain fact: its code comes first, before the first step."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_programs import batches, digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from trainability import check

Setup = dict[str, Any]


def flat() -> tuple[Tensor, Tensor]:
    x, y = digits()
    return x.flatten(1), y


def mlp(outputs: int = 10, last: nn.Module | None = None) -> nn.Sequential:
    layers = [nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, outputs)]
    return nn.Sequential(*layers, *([last] if last is not None else []))


def sgd(model: nn.Module, lr: float = 0.05) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr)


def classifier(model: nn.Module | None = None, loss_fn: Any = F.cross_entropy, **fields) -> Setup:
    model = model or mlp()
    x, y = flat()
    return {"model": model, "train_loader": batches(x, y), "loss_fn": loss_fn, "optimizer": sgd(model), **fields}


def odd(model: nn.Module, loss_fn: Any) -> Setup:
    x, y = flat()
    return classifier(model, loss_fn, train_loader=batches(x, (y % 2).float()[:, None]))


class Chooses(nn.Module):
    """Reads an image by its rows: an attention over them, or over the one question."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query, self.key, self.head, self.dim = nn.Linear(64, 8), nn.Linear(8, 8), nn.Linear(8, 10), dim

    def forward(self, x: Tensor) -> Tensor:
        rows = x.view(-1, 8, 8)
        alike = self.query(x)[:, None] @ self.key(rows).mT
        return self.head((alike.softmax(dim=self.dim) @ rows)[:, 0])


def silent_head() -> Setup:
    model = mlp()
    nn.init.zeros_(next(model[-1].parameters()))
    return classifier(model, optimizer=torch.optim.SGD(model[:-1].parameters(), lr=0.05))


class Two(nn.Module):
    """Two layers side by side, of which the second is used or not."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.a, self.b, self.head, self.how = nn.Linear(64, 32), nn.Linear(64, 32), nn.Linear(32, 10), how

    def forward(self, x: Tensor) -> Any:
        hidden = self.a(x).relu()
        if self.how == "unused":
            return self.head(hidden)
        if self.how == "detached":
            return self.head(hidden + self.b(x).relu().detach())
        if self.how == "zeros":
            return self.head(hidden + self.b(torch.zeros_like(x)).relu())
        return self.head(hidden), self.b(x)


class Drawn(nn.Module):
    """A code that is drawn, and read."""

    def __init__(self) -> None:
        super().__init__()
        self.code, self.head = nn.Linear(64, 16), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.code(x).chunk(2, dim=1)
        return self.head(torch.distributions.Normal(mean, log_std.exp()).sample()), mean

    @staticmethod
    def cost(model: Any, batch: Any) -> Tensor:
        logits, mean = model(batch[0])
        return F.cross_entropy(logits, batch[1]) + 0.01 * mean.square().mean()


def left_out() -> Setup:
    return classifier(Two("returned"), None, training_step=lambda model, batch: F.cross_entropy(model(batch[0])[0], batch[1]))


def stepped(body: Callable[[Any, Any, Tensor], None]) -> Setup:
    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        loss = F.cross_entropy(model(batch[0]), batch[1])
        body(model, optimizer, loss)
        return loss

    return classifier(None, None, step=step)


def cleared_too_late(model: Any, optimizer: Any, loss: Tensor) -> None:
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()


def no_step(model: Any, optimizer: Any, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()


def filled(value: float) -> nn.Sequential:
    model = mlp()
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)
    return model


def dead_biases() -> nn.Sequential:
    model = mlp()
    for name, parameter in model.named_parameters():
        if name == "2.bias":
            nn.init.constant_(parameter, -20.0)
    return model


def half() -> Setup:
    model = mlp().half()
    x, y = flat()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return classifier(model, train_loader=batches(x.half(), y), optimizer=optimizer)


def without(model: nn.Sequential) -> Setup:
    """An optimizer that lacks the second layer, however it is parametrised."""
    held = [p for name, p in model.named_parameters() if not name.startswith("2.")]
    return classifier(model, optimizer=torch.optim.SGD(held, lr=0.05))


def reparametrised(how: Callable[[nn.Module], Any]) -> nn.Sequential:
    model = mlp()
    how(model[2])
    return model


def one_rate_zero() -> Setup:
    model = mlp()
    groups = [{"params": list(model[:2].parameters()), "lr": 0.0}, {"params": list(model[2:].parameters())}]
    return classifier(model, optimizer=torch.optim.SGD(groups, lr=0.05))


MAY_BE_MEANT = ("unreached_parameter.unused", "unreached_parameter.left_out")
FACTS: dict[str, tuple[Callable[[], Setup], str]] = {
    "sigmoid twice": (lambda: odd(mlp(1, nn.Sigmoid()), F.binary_cross_entropy_with_logits), "softmax_twice.sigmoid"),
    "sigmoid under softmax": (lambda: classifier(mlp(last=nn.Sigmoid())), "softmax_twice.sigmoid"),
    "ReLU on the logits": (lambda: classifier(mlp(last=nn.ReLU())), "clamped_logits.relu"),
    "shapes by hand": (
        lambda: classifier(mlp(1), lambda o, t: (o - t).square().mean(), train_loader=batches(flat()[0], flat()[0][:, 20])),
        "target_broadcast",
    ),
    "unused": (lambda: classifier(Two("unused")), "unreached_parameter.unused"),
    "detached": (lambda: classifier(Two("detached")), "unreached_parameter.detached"),
    "left out of the loss": (left_out, "unreached_parameter.left_out"),
    "its input is zero": (lambda: classifier(Two("zeros")), "constant_input"),
    "not in the optimizer": (lambda: classifier(model := mlp(), optimizer=sgd(model[4])), "untrained_parameter.unmanaged"),
    "a rate of zero": (lambda: classifier(model := mlp(), optimizer=sgd(model, 0.0)), "zero_rate"),
    "one rate of zero": (one_rate_zero, "zero_rate.group"),
    "cleared before the step": (lambda: stepped(cleared_too_late), "zero_gradient"),
    "no step": (lambda: stepped(no_step), "never_steps"),
    "one class": (lambda: classifier(train_loader=batches(flat()[0], 0 * flat()[1]), num_classes=10), "class_order.one_class"),
    "eps of half precision": (half, "eps_underflow"),
    "zeros": (lambda: classifier(filled(0.0)), "identical_units"),
    "sample for rsample": (lambda: classifier(Drawn(), None, training_step=Drawn.cost), "unreached_parameter.detached"),
    "one constant": (lambda: classifier(filled(0.05)), "identical_units"),
    "biases that start dead": (lambda: classifier(dead_biases()), "dead_units.bias"),
    "minus the loss": (lambda: classifier(loss_fn=lambda o, t: -F.cross_entropy(o, t)), "wrong_sign"),
    "raw outputs into nll": (lambda: classifier(loss_fn=F.nll_loss), "wrong_sign.nll"),
    "softmax of one": (lambda: odd(mlp(1, nn.Softmax(1)), F.binary_cross_entropy), "flat_loss.softmax_of_one"),
    "softmax of one, inside": (lambda: classifier(Chooses(dim=1)), "flat_loss.softmax_of_one"),
    "zeros in no optimizer": (silent_head, "untrained_parameter.unmanaged"),
    "an output that is the same": (lambda: classifier(mlp(last=nn.Threshold(50.0, 0.0))), "flat_loss.constant_output"),
    "constant input": (lambda: classifier(train_loader=batches(0 * flat()[0], flat()[1])), "constant_input"),
    "weight norm, not trained": (
        lambda: without(reparametrised(parametrizations.weight_norm)),
        "untrained_parameter.unmanaged",
    ),
    "spectral norm, not trained": (
        lambda: without(reparametrised(parametrizations.spectral_norm)),
        "untrained_parameter.unmanaged",
    ),
}


@pytest.mark.parametrize("name", FACTS)
def test_a_certain_fact_comes_first(name: str) -> None:
    torch.manual_seed(0)
    make, code = FACTS[name]
    found = check(**make(), rehearse_seconds=20).findings
    assert [finding.code for finding in found][:1] == [code]
    assert found[0].severity == "hint" or code not in MAY_BE_MEANT


@pytest.mark.parametrize("how", [None, parametrizations.weight_norm, parametrizations.spectral_norm, nn.utils.spectral_norm])
def test_a_sound_program_has_none(how: Any) -> None:
    torch.manual_seed(0)
    model = mlp() if how is None else reparametrised(how)
    assert [f.code for f in check(**classifier(model), rehearse_seconds=20).findings if f.severity != "hint"] == []
