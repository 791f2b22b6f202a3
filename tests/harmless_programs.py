"""Small programs of many kinds, for tests that Monitor and probe leave everything as it was."""

import copy
import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

Step = Callable[[Any], Tensor | float]


@dataclass
class Program:
    """A model, its optimizer, and one pass through the body of its loop.

    Attributes:
        model: handed to Monitor.
        optimizer: handed to Monitor.
        step: of the monitor (or None): the loss.
        inputs: one batch for the probe; None leaves the probe out.
        target: for the probe.
        loss_fn: for the probe.
        said: part of the one line that says what is not watched; None where everything is.
        probed: part of a note of the probe; None where any are fine.
        monitors: more arguments of Monitor.
    """

    model: nn.Module
    optimizer: Any
    step: Step
    inputs: Any = None
    target: Any = None
    loss_fn: Any = F.mse_loss
    said: str | None = None
    probed: str | None = None
    monitors: dict[str, Any] | None = None


def program(model: nn.Module, inputs: Any = None, target: Any = None, **more: Any) -> Program:
    """The usual loop around a model of one input."""
    inputs = torch.randn(8, 4) if inputs is None else inputs
    output_of = more.pop("output_of", lambda output: output)
    loss_fn = more.pop("loss_fn", lambda output, target: (output_of(output) - target).square().mean())
    target = torch.randn(8, 3) if target is None else target
    call = more.pop("call", None) or model
    optimizer = more.pop("optimizer", None) or torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    between = more.pop("between", lambda: None)

    def step(monitor: Any) -> Tensor:
        loss = loss_fn(call(**inputs) if isinstance(inputs, dict) else call(inputs), target)
        loss.backward()
        between()
        if monitor:
            monitor.after_backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    more.setdefault("step", step)
    return Program(model=model, optimizer=optimizer, inputs=inputs, target=target, loss_fn=loss_fn, **more)


def mlp(width: int = 4, out: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, out))


class Body(nn.Module):
    """A linear layer, and whatever `forward` of a scenario does around it."""

    def __init__(self, do: Callable[[Any, Tensor], Tensor], **attributes: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.do = do
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.do(self, x)


def shared_under_two_names() -> Program:
    class T5(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = nn.Embedding(10, 4)
            self.encoder, self.decoder = nn.ModuleDict({"embed_tokens": self.shared}), nn.ModuleDict()
            self.decoder["embed_tokens"] = self.shared
            self.head = nn.Linear(4, 10, bias=False)
            self.head.weight = self.shared.weight

        def forward(self, x):
            return self.head(self.encoder["embed_tokens"](x) + self.decoder["embed_tokens"](x))

    tokens = torch.randint(10, (8, 5))
    return program(T5(), tokens, tokens, loss_fn=lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten()))


def cached_tensor(self: Any, x: Tensor) -> Tensor:
    if self.mask is None:
        self.mask = torch.ones(x.shape[1])
    return self.layer(x * self.mask)


def buffer_until_forward() -> Program:
    def forward(self: Any, x: Tensor) -> Tensor:
        if self.mean is None:
            self.mean = x.mean(dim=0).detach()
        return self.layer(x - self.mean)

    model = Body(forward)
    model.register_buffer("mean", None)
    return program(model)


def resized(self: Any, x: Tensor) -> Tensor:
    self.seen.resize_(self.seen.numel() + 1).fill_(1.0)
    return self.layer(x)


def clamped(self: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        self.layer.weight.clamp_(-0.1, 0.1)
    return self.layer(x)


def counted(self: Any, x: Tensor) -> Tensor:
    self.calls += 1
    return self.layer(x) * (1.0 + 0.1 * self.calls)


CALLS = {"global": 0}
OWN_GENERATOR = torch.Generator().manual_seed(3)
NUMPY_GENERATOR = np.random.default_rng(3)


def counted_outside() -> Program:
    calls = []
    CALLS["global"] = 0

    def forward(self: Any, x: Tensor) -> Tensor:
        calls.append(1)
        CALLS["global"] += 1
        return self.layer(x) * (1.0 + 0.1 * len(calls) + 0.01 * CALLS["global"])

    return program(Body(forward))


def stochastic_depth(draw: Callable[[Any], float]) -> Callable[[], Program]:
    def build() -> Program:
        OWN_GENERATOR.manual_seed(3)
        NUMPY_GENERATOR.bit_generator.state = np.random.default_rng(3).bit_generator.state
        return program(
            Body(
                lambda self, x: self.layer(x) if draw(self) < 0.5 else self.layer(x) * 0.5,
                generator=torch.Generator().manual_seed(5),
            )
        )

    return build


def lstm() -> Program:
    class Tagger(nn.Module):
        def __init__(self, kind: Any) -> None:
            super().__init__()
            self.rnn, self.head = kind(4, 6, num_layers=2, batch_first=True), nn.Linear(6, 3)

        def forward(self, x):
            return self.head(self.rnn(x)[0])

    return program(Tagger(nn.LSTM), torch.randn(8, 5, 4), torch.randn(8, 5, 3))


def gru_cell() -> Program:
    class Unrolled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = nn.GRUCell(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            state = x.new_zeros(len(x), 6)
            for t in range(x.shape[1]):
                state = self.cell(x[:, t], state)
            return self.head(state)

    return program(Unrolled(), torch.randn(8, 5, 4))


class Conv1D(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(width, out) * 0.1), nn.Parameter(torch.zeros(out))

    def forward(self, x):
        return torch.addmm(self.bias, x, self.weight)


class GraphLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3) * 0.5)
        self.register_buffer("adjacency", torch.eye(8) + 0.1)

    def forward(self, x):
        return self.adjacency @ (x @ self.weight)


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w, self.position = nn.Parameter(torch.randn(4, 3) * 0.5), nn.Parameter(torch.zeros(1, 4))

    def forward(self, x):
        return (x + self.position) @ self.w


def functional_parameters() -> Program:
    model = mlp()
    x, y = torch.randn(8, 4), torch.randn(8, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    def one(parameters: Any, x: Tensor, y: Tensor) -> Tensor:
        return (torch.func.functional_call(model, parameters, (x,)) - y).square().mean()

    def step(monitor: Any) -> Tensor:
        parameters = dict(model.named_parameters())
        each = torch.vmap(torch.func.grad(one), in_dims=(None, 0, 0))(parameters, x, y)
        for name, p in model.named_parameters():
            p.grad = each[name].mean(dim=0).detach()
        loss = one(parameters, x, y).detach()
        if monitor:
            monitor.after_backward(loss)
        optimizer.step()
        return loss

    return program(model, x, y, optimizer=optimizer, step=step, said="torch.func")


def lbfgs() -> Program:
    model, x, y = mlp(), torch.randn(8, 4), torch.randn(8, 3)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)

    def step(monitor: Any) -> Tensor:
        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            if monitor:
                monitor.after_backward(loss)
            return loss

        return optimizer.step(closure)

    return program(model, x, y, optimizer=optimizer, step=step)


def double_backward() -> Program:
    model, x, y = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), torch.randn(8, 4), torch.randn(8, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def step(monitor: Any) -> Tensor:
        wanted = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(wanted).sum(), wanted, create_graph=True)
        loss = F.mse_loss(model(x), y) + (gradient.norm(dim=1) - 1).square().mean()
        loss.backward()
        if monitor:
            monitor.after_backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return program(model, x, y, optimizer=optimizer, step=step)


def sam() -> Program:
    model, x, y = mlp(), torch.randn(8, 4), torch.randn(8, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    def step(monitor: Any) -> Tensor:
        loss = F.mse_loss(model(x), y)
        loss.backward()
        with torch.no_grad():
            moves = [0.05 * p.grad / p.grad.norm() for p in model.parameters() if p.grad is not None]
            for p, move in zip(model.parameters(), moves, strict=True):
                p.add_(move)
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        with torch.no_grad():
            for p, move in zip(model.parameters(), moves, strict=True):
                p.sub_(move)
        if monitor:
            monitor.after_backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return program(model, x, y, optimizer=optimizer, step=step)


def raises_now_and_then() -> Program:
    def forward(self: Any, x: Tensor) -> Tensor:
        self.calls += 1
        hidden = self.layer(x)
        if self.calls % 3 == 0:
            raise ArithmeticError("a bad batch")
        return hidden

    model, x, y = Body(forward, calls=0), torch.randn(8, 4), torch.randn(8, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    def step(monitor: Any) -> float | Tensor:
        try:
            loss = F.mse_loss(model(x), y)
        except ArithmeticError:
            return 0.0
        loss.backward()
        if monitor:
            monitor.after_backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return program(model, x, y, optimizer=optimizer, step=step)


def between_steps(action: Callable[[nn.Module], Any], model: Callable[[], nn.Module] = mlp) -> Callable[[], Program]:
    """Something done to the model between backward and step, also while a sampled step is armed."""

    def build() -> Program:
        made = model()
        return program(made, between=lambda: action(made))

    return build


def exported(model: nn.Module) -> None:
    torch.export.export(model, (torch.randn(2, 4),))


def other_optimizer(make: Callable[[nn.Module], Any], model: Callable[[], nn.Module] = mlp) -> Callable[[], Program]:
    def build() -> Program:
        made = model()
        return program(made, optimizer=make(made))

    return build


class Hookless:
    """Steps by itself, knows nothing of PyTorch's optimizers."""

    def __init__(self, model: nn.Module) -> None:
        self.parameters = list(model.parameters())
        self.param_groups = [{"params": self.parameters, "lr": 0.05}]

    def step(self) -> None:
        with torch.no_grad():
            for p in self.parameters:
                if p.grad is not None:
                    p.sub_(0.05 * p.grad)

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None


class Wrapping(torch.optim.Optimizer):
    """As Accelerate's: an Optimizer by type that never called its constructor."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self):  # type: ignore[override]
        return self.optimizer.param_groups

    def step(self, closure=None):
        return self.optimizer.step(closure)

    def zero_grad(self, set_to_none=True):
        self.optimizer.zero_grad()


class OwnTrain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def train(self, x, y):  # type: ignore[override]
        raise AssertionError("called as the mode")

    def eval(self):
        raise AssertionError("called as the mode")

    def forward(self, x):
        return self.layer(x)


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return torch.cat([self.one(x), self.other(x[:0])])


@dataclass
class Output:
    logits: Tensor
    hidden: Tensor


def scaler_that_skips() -> Program:
    model, x, y = mlp(), torch.randn(8, 4), torch.randn(8, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    steps = []

    def step(monitor: Any) -> Tensor:
        steps.append(1)
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        (loss * 1024.0).backward()
        if monitor:
            monitor.after_backward(loss, grad_scale=1024.0)
        if len(steps) not in (2, 3):
            for p in model.parameters():
                if p.grad is not None:
                    p.grad /= 1024.0
            optimizer.step()
        return loss

    return program(model, x, y, optimizer=optimizer, step=step)


def accumulating() -> Program:
    model, x, y = mlp(), torch.randn(8, 4), torch.randn(8, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    def step(monitor: Any) -> Tensor:
        loss = torch.zeros(())
        for part in (slice(0, 4), slice(4, 8)):
            loss = F.mse_loss(model(x[part]), y[part])
            (loss / 2).backward()
            if monitor:
                monitor.after_backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return program(model, x, y, optimizer=optimizer, step=step, monitors={"accumulation": 2})


def evaluated(mode: Any) -> Callable[[], Program]:
    def build() -> Program:
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3))

        def look() -> None:
            model.eval()
            with mode():
                model(torch.full((4, 4), 1e6))
            model.train()

        return program(model, between=look)

    return build


def grows() -> Program:
    model = nn.Sequential(nn.Linear(4, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    def grow() -> None:
        if len(model) < 3:
            model.append(nn.Linear(3, 3))
            optimizer.add_param_group({"params": list(model[-1].parameters())})

    return program(model, optimizer=optimizer, between=grow)


def parts_called_alone() -> Program:
    model = nn.ModuleDict({"encoder": nn.Linear(4, 6), "decoder": nn.Linear(6, 3)})
    built = program(model, call=lambda x: model["decoder"](model["encoder"](x).relu()))
    built.inputs = None  # the model has no forward of its own
    return built


def hooked_by_its_owner(change: bool) -> Callable[[], Program]:
    def build() -> Program:
        model, seen = mlp(), []
        model[0].register_forward_hook(lambda m, i, o: (seen.append(float(o.sum())), o * 0.9)[1] if change else None)
        built = program(model)
        loss_fn = built.loss_fn
        built.loss_fn = lambda o, t: loss_fn(o, t) + 0.0 * len(seen)
        return built

    return build


def loss_with_weights(reach: bool) -> Callable[[], Program]:
    def build() -> Program:
        model = mlp()
        loss_module = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))
        optimizer = torch.optim.SGD([*model.parameters(), *loss_module.parameters()], lr=0.05)
        decay = model if reach else loss_module

        def loss_fn(output: Tensor, target: Tensor) -> Tensor:
            return (loss_module(output - target)).square().mean() + 1e-2 * sum(p.square().sum() for p in decay.parameters())

        return program(model, loss_fn=loss_fn, optimizer=optimizer)

    return build


class Uncopied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls, self.seen = nn.Linear(4, 3), 0, None
        self.register_buffer("total", torch.zeros(2))

    def __deepcopy__(self, memo):
        raise RuntimeError("holds a socket")

    def forward(self, x):
        self.calls += 1
        self.seen = x.detach()
        self.total.resize_(self.calls + 2).fill_(1.0)
        return self.layer(x) * (1 + 0.1 * self.calls)


def changes_its_input(self: Any, x: Tensor) -> Tensor:
    x.mul_(0.9)
    return self.layer(x)


def complex_weights() -> Program:
    class Complex(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3, dtype=torch.complex64)

        def forward(self, x):
            return self.layer(x.to(torch.complex64))

    return program(Complex(), loss_fn=lambda o, t: (o - t).abs().square().mean(), said="real numbers")


def tokens_for(model: nn.Module, **more: Any) -> Program:
    tokens = torch.randint(10, (8, 5))
    return program(model, tokens, tokens, loss_fn=lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten()), **more)


def language_model(sparse: bool = False) -> nn.Sequential:
    return nn.Sequential(nn.Embedding(10, 6, sparse=sparse), nn.Linear(6, 10))


def checkpointed(reentrant: bool) -> Callable[[], Program]:
    def forward(self: Any, x: Tensor) -> Tensor:
        return self.layer(checkpoint(self.body, x, use_reentrant=reentrant))

    def build() -> Program:
        model = Body(forward, body=nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(0.2), nn.Linear(4, 4)))
        x = torch.randn(8, 4, requires_grad=reentrant)
        return program(model, x)

    return build


def normed(apply: Callable[[nn.Module], nn.Module], width: int = 8) -> Callable[[], Program]:
    return lambda: program(nn.Sequential(apply(nn.Linear(4, width)), nn.Tanh(), nn.Linear(width, 3)))


def dict_model() -> Program:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(4, 3), nn.Linear(2, 3)

        def forward(self, ids, mask=None):
            return {"logits": self.one(ids) + self.other(mask), "hidden": ids}

    inputs = {"ids": torch.randn(8, 4), "mask": torch.randn(8, 2)}
    return program(Named(), inputs, output_of=lambda output: output["logits"])


def autocast_program() -> Program:
    model = mlp()
    return program(model, call=lambda x: torch.autocast("cpu", torch.bfloat16)(model)(x).float())


def scheduled() -> Program:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    built = program(model, optimizer=optimizer)
    usual = built.step

    def step(monitor: Any) -> Any:
        loss = usual(monitor)
        scheduler.step()
        return loss

    built.step = step
    return built


def averaged() -> Program:
    model = mlp()
    average = torch.optim.swa_utils.AveragedModel(model)
    return program(model, between=lambda: average.update_parameters(model))


def toggled() -> Program:
    model = mlp()

    def toggle() -> None:
        model[0].weight.requires_grad_(not model[0].weight.requires_grad)

    return program(model, between=toggle)


def twice_backward() -> Program:
    model, x, y = mlp(), torch.randn(8, 4), torch.randn(8, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    def step(monitor: Any) -> Tensor:
        loss = F.mse_loss(model(x), y)
        loss.backward(retain_graph=True)
        loss.backward()
        if monitor:
            monitor.after_backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return program(model, x, y, optimizer=optimizer, step=step)


def zero_weights() -> nn.Module:
    model = mlp()
    for p in model.parameters():
        nn.init.zeros_(p)
    return model


def transformer() -> Program:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
    model = nn.Sequential(nn.Linear(4, 8), layer, nn.Linear(8, 3))
    return program(model, torch.randn(8, 5, 4), torch.randn(8, 5, 3), said="out_proj: their modules are not called")


SCENARIOS: dict[str, Callable[[], Program]] = {
    "mlp": lambda: program(mlp()),
    "conv": lambda: program(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 3)),
        torch.randn(8, 3, 8, 8),
    ),
    "transposed convolution": lambda: program(
        nn.Sequential(nn.ConvTranspose2d(3, 2, 2, stride=2), nn.SiLU(), nn.Flatten(), nn.Linear(128, 3)),
        torch.randn(8, 3, 4, 4),
    ),
    "dropout": lambda: program(nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3))),
    "one module under two names, tied weights": shared_under_two_names,
    "tied weights": lambda: tokens_for(tie(language_model())),
    "tensor cached in forward": lambda: program(Body(cached_tensor, mask=None)),
    "buffer that is None until forward": buffer_until_forward,
    "buffer resized in forward": lambda: program(register(Body(resized), "seen", torch.zeros(1))),
    "weights clamped in forward": lambda: program(Body(clamped)),
    "forward that counts its calls": lambda: program(Body(counted, calls=0)),
    "forward that counts its calls outside": counted_outside,
    "stochastic depth, torch": stochastic_depth(lambda self: torch.rand(()).item()),
    "stochastic depth, python": stochastic_depth(lambda self: random.random()),
    "stochastic depth, numpy": stochastic_depth(lambda self: np.random.rand()),
    "stochastic depth, generator of the model": stochastic_depth(lambda self: torch.rand((), generator=self.generator).item()),
    "stochastic depth, global generator": stochastic_depth(lambda self: torch.rand((), generator=OWN_GENERATOR).item()),
    "stochastic depth, numpy generator": stochastic_depth(lambda self: NUMPY_GENERATOR.random()),
    "spectral norm": normed(parametrizations.spectral_norm),
    "weight norm": normed(parametrizations.weight_norm),
    "orthogonal": normed(parametrizations.orthogonal, width=4),
    "parametrised twice": normed(lambda m: parametrizations.spectral_norm(symmetric(m)), width=4),
    "old spectral norm": normed(nn.utils.spectral_norm),
    "old weight norm": normed(nn.utils.weight_norm),
    "lazy": lambda: program(lazy := nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3)), optimizer=LazySGD(lazy)),
    "checkpointed": checkpointed(False),
    "checkpointed, reentrant": checkpointed(True),
    "LBFGS": lbfgs,
    "double backward": double_backward,
    "backward twice": twice_backward,
    "sharpness-aware": sam,
    "exceptions in forward": raises_now_and_then,
    "per-example gradients, vmap": functional_parameters,
    "scripted": lambda: program(torch.jit.script(mlp()), said="are not called by themselves", probed="ScriptModule"),
    "traced": lambda: program(torch.jit.trace(mlp(), torch.randn(2, 4)), said="are not called by themselves"),
    "sparse gradients": lambda: tokens_for(language_model(sparse=True)),
    "complex weights": complex_weights,
    "float64": lambda: program(mlp().double(), torch.randn(8, 4).double(), torch.randn(8, 3).double()),
    "bfloat16": lambda: program(mlp().bfloat16(), torch.randn(8, 4).bfloat16(), torch.randn(8, 3).bfloat16()),
    "float16": lambda: program(mlp().half(), torch.randn(8, 4).half(), torch.randn(8, 3).half()),
    "mixed types": lambda: program(
        Body(lambda self, x: self.layer(self.wide(x.double()).float()), wide=nn.Linear(4, 4).double())
    ),
    "autocast": autocast_program,
    "scaler that skips": scaler_that_skips,
    "accumulation and clipping": accumulating,
    "frozen part": lambda: program(frozen(mlp())),
    "requires_grad toggled": toggled,
    "LSTM": lstm,
    "GRU cell": gru_cell,
    "transformer": transformer,
    "Conv1D of Transformers": lambda: program(nn.Sequential(Conv1D(4, 8), nn.GELU(), Conv1D(8, 3))),
    "graph layer": lambda: program(GraphLayer()),
    "bare parameters": lambda: program(Bare()),
    "bilinear": lambda: program(Body(lambda self, x: self.pair(x, x), pair=nn.Bilinear(4, 4, 3)), said="layer: their modules"),
    "named inputs, dict output": dict_model,
    "dataclass output": lambda: program(
        Body(lambda self, x: Output(logits=self.layer(x), hidden=x)), output_of=lambda output: output.logits
    ),
    "tuple output": lambda: program(Body(lambda self, x: (self.layer(x), x)), output_of=lambda output: output[0]),
    "no dimension in the output": lambda: program(
        Body(lambda self, x: self.layer(x).square().mean()), target=torch.zeros(()), loss_fn=lambda o, t: o - t
    ),
    "own train method": lambda: program(OwnTrain()),
    "expert without examples": lambda: program(Experts()),
    "input changed in place": lambda: program(Body(changes_its_input)),
    "input with a gradient": lambda: program(mlp(), torch.randn(8, 4).requires_grad_()),
    "zero weights": lambda: program(zero_weights()),
    "constant loss": lambda: program(mlp(), loss_fn=lambda o, t: (o * 0.0).sum()),
    "not finite": lambda: program(mlp(), torch.full((8, 4), 1e38)),
    "Adam": other_optimizer(lambda m: torch.optim.Adam(m.parameters())),
    "AdamW, foreach off": other_optimizer(lambda m: torch.optim.AdamW(m.parameters(), foreach=False)),
    "fused": other_optimizer(lambda m: torch.optim.Adam(m.parameters(), fused=True)),
    "Adadelta": other_optimizer(lambda m: torch.optim.Adadelta(m.parameters())),
    "Rprop": other_optimizer(lambda m: torch.optim.Rprop(m.parameters())),
    "sparse Adam": lambda: tokens_for(
        model := nn.Sequential(nn.Embedding(10, 10, sparse=True)), optimizer=torch.optim.SparseAdam(model.parameters())
    ),
    "optimizer without hooks": lambda: program(model := mlp(), optimizer=Hookless(model), said="takes no step hooks"),
    "wrapped as by Accelerate": other_optimizer(lambda m: Wrapping(torch.optim.SGD(m.parameters(), lr=0.05))),
    "rate that is a tensor": other_optimizer(lambda m: torch.optim.Adam(m.parameters(), lr=torch.tensor(0.01))),
    "scheduler": scheduled,
    "weights averaged": averaged,
    "copied meanwhile": between_steps(copy.deepcopy),
    "saved meanwhile": between_steps(lambda model: torch.save(model, io.BytesIO())),
    "scripted meanwhile": between_steps(torch.jit.script),
    "traced meanwhile": between_steps(lambda model: torch.jit.trace(model, torch.randn(2, 4))),
    "fx traced meanwhile": between_steps(torch.fx.symbolic_trace),
    "evaluated meanwhile": evaluated(torch.no_grad),
    "evaluated in inference mode": evaluated(torch.inference_mode),
    "layers added": grows,
    "parts called alone": parts_called_alone,
    "forward called by name": lambda: program(model := mlp(), call=lambda x: model.forward(x)),
    "hooks of its owner": hooked_by_its_owner(False),
    "hook that changes the output": hooked_by_its_owner(True),
    "loss with weights of its own": loss_with_weights(False),
    "loss that reaches the model": loss_with_weights(True),
    "cannot be copied": lambda: program(Uncopied(), probed="holds a socket"),
    "batch of one": lambda: program(mlp(), torch.randn(1, 4), torch.randn(1, 3)),
    "group norm": lambda: program(nn.Sequential(nn.Linear(4, 8), nn.GroupNorm(2, 8), nn.Mish(), nn.Linear(8, 3))),
    "batch norm without statistics": lambda: program(
        nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.ReLU6(), nn.Linear(8, 3))
    ),
    "attributes that are modules and tensors": lambda: program(
        Body(lambda self, x: self.layer(x) * self.scales[0], scales=[torch.ones(3)], others=[nn.Linear(2, 2)])
    ),
}
SLOW_SCENARIOS: dict[str, Callable[[], Program]] = {
    "exported meanwhile": between_steps(exported),
}


def register(model: nn.Module, name: str, value: Tensor) -> nn.Module:
    model.register_buffer(name, value)
    return model


def tie(model: nn.Sequential) -> nn.Module:
    model[1].weight = model[0].weight
    return model


def frozen(model: nn.Sequential) -> nn.Module:
    model[0].requires_grad_(False)
    return model


class LazySGD(torch.optim.SGD):
    """Made before the model's first pass: it finds the weights when they are there."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__([nn.Parameter(torch.zeros(1))], lr=0.05)
        self.model = model

    def step(self, closure=None):
        self.param_groups[0]["params"] = list(self.model.parameters())
        return super().step(closure)


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).transpose(-1, -2)


def symmetric(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", Symmetric())
    return layer
