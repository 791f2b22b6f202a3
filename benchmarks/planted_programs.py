"""Small programs with one planted fault, and healthy ones, made anew at every call: what `confirm.py` asks about."""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import random_programs
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import Setup


def loader(*values: Tensor, batch: int = 32, shuffle: bool = True) -> DataLoader:
    return DataLoader(TensorDataset(*values), batch, shuffle=shuffle)


def digits(flat: bool = True) -> tuple[Tensor, Tensor]:
    images, labels = random_programs.digits()
    return (images.flatten(1) if flat else images), labels


def mlp(*sizes: int, act: Callable[[], nn.Module] = nn.ReLU, last: tuple[nn.Module, ...] = ()) -> nn.Sequential:
    layers = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), act())]
    return nn.Sequential(*layers[:-1], *last)


def he(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def cnn(width: int = 12, act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), act(), nn.MaxPool2d(2), nn.Conv2d(width, 2 * width, 3, padding=1), act(),
        nn.Flatten(), nn.Linear(32 * width, 10),
    )  # fmt: skip


def on_digits(model: nn.Module, optimizer: torch.optim.Optimizer | None = None, *, flat: bool = True, **fields: Any) -> Setup:
    optimizer = optimizer or torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    batches = fields.pop("train_loader", None) or loader(*digits(flat))
    return Setup(model=model, train_loader=batches, optimizer=optimizer, rehearse_seconds=1, **fields)


def sgd(model: nn.Module, lr: float = 0.05, **settings: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr, **{"momentum": 0.9, **settings})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Planted:
    """A program with one fault.

    Attributes:
        make: it, anew every time.
        undone_by: changes that undo it.
    """

    make: Callable[[], Setup]
    undone_by: tuple[str, ...]


FAULTS: dict[str, Planted] = {}
HEALTHY: dict[str, Callable[[], Setup]] = {}


def fault(*undone_by: str) -> Callable[[Callable[[], Setup]], Callable[[], Setup]]:
    def planted(make: Callable[[], Setup]) -> Callable[[], Setup]:
        FAULTS[make.__name__] = Planted(make=make, undone_by=undone_by)
        return make

    return planted


def healthy(make: Callable[[], Setup]) -> Callable[[], Setup]:
    HEALTHY[make.__name__] = make
    return make


_WEIGHTS = ("he", "xavier", "default_weights", "recommended_weights")
_SMALLER = ("rate_hundredth", "rate_tenth")
_LARGER = ("rate_thousand", "rate_hundred", "rate_ten")
_MEASURED = ("rate_measured",)  # undoes a rate that was planted; of another fault, a rate that makes up for it is not the cause


@fault("momentum_usual")
def momentum_0999() -> Setup:
    model = mlp(64, 48, 48, 10)
    return on_digits(model, sgd(model, momentum=0.999))


@fault("decay_off")
def weight_decay_05() -> Setup:
    model = he(mlp(64, 48, 48, 48, 10))
    return on_digits(model, sgd(model, weight_decay=0.5))


@fault("decay_off")
def adamw_decay() -> Setup:
    model = cnn()
    return on_digits(model, torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=100.0), flat=False)


@fault("softmax_off")
def softmax_twice() -> Setup:
    model = mlp(64, 48, 10, last=(nn.Softmax(dim=1),))
    return on_digits(model)


class _Squashed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.GRU(8, 32, batch_first=True), nn.Linear(32, 10)

    def forward(self, rows: Tensor) -> Tensor:
        return self.head(self.cells(rows.squeeze(1))[0][:, -1]).softmax(dim=-1)


@fault("softmax_off")
def softmax_in_forward() -> Setup:
    model = _Squashed()
    return on_digits(model, torch.optim.Adam(model.parameters(), 5e-3), flat=False)


@fault("sigmoid_off")
def sigmoid_twice() -> Setup:
    model = mlp(64, 48, 10, last=(nn.Sigmoid(),))
    x, y = digits()
    targets = F.one_hot(y, 10).float()
    return Setup(
        model=model, train_loader=loader(x, targets), loss_fn=F.binary_cross_entropy_with_logits,
        optimizer=torch.optim.Adam(model.parameters(), 3e-3), rehearse_seconds=1,
    )  # fmt: skip


@fault("last_activation_off")
def relu_at_the_end() -> Setup:
    model = mlp(8, 48, 48, 1, last=(nn.ReLU(),))
    x, y, _ = random_programs.table()
    return Setup(
        model=model, train_loader=loader(x, y), loss_fn=F.mse_loss, optimizer=torch.optim.Adam(model.parameters(), 1e-2),
        rehearse_seconds=1,
    )  # fmt: skip


def _with_weights(model: nn.Module, change: Callable[[Tensor], Any]) -> nn.Module:
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                assert module.bias is not None
                change(module.weight)
                nn.init.zeros_(module.bias)
    return model


@fault(*_WEIGHTS)
def zero_weights() -> Setup:
    return on_digits(_with_weights(mlp(64, 48, 48, 10), nn.init.zeros_))


@fault(*_WEIGHTS)
def zero_weights_cnn() -> Setup:
    model = _with_weights(cnn(), nn.init.zeros_)
    return on_digits(model, torch.optim.Adam(model.parameters(), 3e-3), flat=False)


@fault(*_WEIGHTS)
def constant_weights() -> Setup:
    return on_digits(_with_weights(mlp(64, 48, 48, 10), lambda weight: weight.fill_(0.05)))


@fault(*_WEIGHTS)
def tiny_weights() -> Setup:
    sizes = [48] * 9
    return on_digits(_with_weights(mlp(64, *sizes, 10), lambda weight: weight.normal_(0, 0.01)))


@fault(*_WEIGHTS)
def huge_weights() -> Setup:
    sizes = [48] * 7
    return on_digits(_with_weights(mlp(64, *sizes, 10), lambda weight: weight.normal_(0, 0.5)))


@fault(*_WEIGHTS)
def default_in_depth() -> Setup:
    model = mlp(64, *[48] * 19, 10)
    return on_digits(model, sgd(model, 0.005))


@fault("biases_zero", "default_weights")
def biases_minus_10() -> Setup:
    model = mlp(64, 48, 48, 10)
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.constant_(module.bias, -10)
    return on_digits(model)


@fault("dropout_off")
def dropout_099() -> Setup:
    model = nn.Sequential(
        nn.Linear(64, 48), nn.ReLU(), nn.Dropout(0.99), nn.Linear(48, 48), nn.ReLU(), nn.Dropout(0.99), nn.Linear(48, 10)
    )
    return on_digits(model)


@fault("clip_off")
def clip_1e6() -> Setup:
    return on_digits(mlp(64, 48, 48, 10), clip=1e-6)


@fault("clip_off")
def clip_in_a_body() -> Setup:
    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e-6)
        optimizer.step()
        return loss

    return on_digits(he(mlp(64, 48, 48, 10)), step=step)


@fault(*_SMALLER, *_MEASURED)
def rate_60_times() -> Setup:
    model = he(mlp(64, 48, 48, 10))
    return on_digits(model, sgd(model, 3.0))


@fault(*_SMALLER, *_MEASURED)
def adam_rate_1() -> Setup:
    model = cnn()
    return on_digits(model, torch.optim.Adam(model.parameters(), 0.3), flat=False)


@fault(*_LARGER, *_MEASURED)
def rate_too_small() -> Setup:
    model = he(mlp(64, 48, 48, 10))
    return on_digits(model, sgd(model, 1e-5))


@fault("rate_held")
def schedule_of_epochs() -> Setup:
    model = he(mlp(64, 48, 48, 10))
    optimizer = sgd(model, 0.02)
    return on_digits(model, optimizer, scheduler=torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5))


@fault("relu", *_WEIGHTS)
def deep_sigmoid() -> Setup:
    return on_digits(mlp(64, *[48] * 5, 10, act=nn.Sigmoid))


@fault("zero_grad", "step_in_order")
def no_zero_grad() -> Setup:
    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss

    return on_digits(he(mlp(64, 48, 48, 10)), step=step)


@fault("step_in_order")
def never_steps() -> Setup:
    model = mlp(64, 48, 48, 10)
    optimizer = sgd(model)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1000)

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        schedule.step()
        return loss

    return on_digits(model, optimizer, step=step)


@fault("step_in_order")
def cleared_before_the_step() -> Setup:
    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
        return loss

    return on_digits(mlp(64, 48, 48, 10), step=step)


@fault("inputs_standard")
def inputs_of_thousands() -> Setup:
    x, y = digits()
    return on_digits(he(mlp(64, 48, 48, 10)), train_loader=loader(x * 1000 + 300, y))


@fault("inputs_standard", "rate_hundred", "rate_thousand")
def inputs_of_thousandths() -> Setup:
    x, y = digits()
    return on_digits(mlp(64, 48, 48, 10), train_loader=loader(x / 1000, y))


@fault("targets_standard")
def targets_of_millions() -> Setup:
    x, y, _ = random_programs.table()
    model = mlp(8, 48, 48, 1)
    return Setup(
        model=model, train_loader=loader(x, y * 1e6 + 3e6), loss_fn=F.mse_loss,
        optimizer=torch.optim.Adam(model.parameters(), 3e-3), rehearse_seconds=1,
    )  # fmt: skip


@fault("shuffled")
def sorted_by_class() -> Setup:
    x, y = digits(flat=False)
    order = y.argsort(stable=True)
    model = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Flatten(), nn.Linear(768, 10))
    return on_digits(model, train_loader=loader(x[order], y[order], shuffle=False), flat=False)


@fault("all_parameters")
def foreign_optimizer() -> Setup:
    return on_digits(mlp(64, 48, 48, 10), sgd(mlp(64, 48, 48, 10)))


class _Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(64 if i == 0 else 24, 24) for i in range(8)]
        for layer in self.layers:
            nn.init.normal_(layer.weight, std=0.05)
        self.head = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.head(x)


@fault("all_parameters", *_WEIGHTS)
def layers_in_a_list() -> Setup:
    model = _Listed()
    return on_digits(model, torch.optim.Adam(model.parameters(), 3e-3))


@fault("target_shape")
def broadcast_targets() -> Setup:
    x, y, _ = random_programs.table()
    model = mlp(8, 48, 48, 1)
    return Setup(
        model=model, train_loader=loader(x, y[:, 0]), loss_fn=F.mse_loss,
        optimizer=torch.optim.Adam(model.parameters(), 1e-2), rehearse_seconds=1,
    )  # fmt: skip


@fault("mean_for_sum", *_SMALLER)
def sum_for_mean() -> Setup:
    loss_fn = functools.partial(F.cross_entropy, reduction="sum")
    return on_digits(he(mlp(64, 48, 48, 10)), loss_fn=loss_fn)


@fault("eps_usual")
def adam_eps_10() -> Setup:
    model = mlp(64, 48, 48, 10)
    return on_digits(model, torch.optim.Adam(model.parameters(), 3e-3, eps=1e3))


@fault("relu_between")
def exclusive_or_linear() -> Setup:
    x = torch.randint(0, 2, (640, 2)).float()
    y = (x.sum(1) == 1).float().unsqueeze(1)
    model = nn.Sequential(nn.Linear(2, 16), nn.Linear(16, 1))
    return Setup(
        model=model, train_loader=loader(x, y), loss_fn=F.binary_cross_entropy_with_logits,
        optimizer=torch.optim.Adam(model.parameters(), 2e-2), rehearse_seconds=1,
    )  # fmt: skip


class _Series(nn.Module):
    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(4, 24, batch_first=batch_first), nn.Linear(24, 2)

    def forward(self, series: Tensor) -> Tensor:
        return self.head(self.rnn(series)[0].select(1, -1))


@fault("batch_first")
def batch_for_time() -> Setup:
    x = torch.randn(1200, 12, 4)
    y = (x[..., 1].sum(1) > 0).long()
    model = _Series(batch_first=False)
    return Setup(
        model=model, train_loader=loader(x, y), optimizer=torch.optim.Adam(model.parameters(), 5e-3), rehearse_seconds=1
    )


class _Unplaced(nn.Module):
    """A sum over signs, so that without the positions, which are looked up and dropped, their order is not seen."""

    def __init__(self) -> None:
        super().__init__()
        self.sign, self.place = nn.Embedding(6, 24), nn.Embedding(16, 24)
        self.wide, self.head = nn.Linear(24, 48), nn.Linear(48, 6)

    def forward(self, signs: Tensor) -> Tensor:
        embedded = self.sign(signs)
        self.place(torch.arange(signs.shape[1]))
        return self.head(torch.relu(self.wide(embedded)).sum(dim=1))


@fault("positions_added")
def positions_dropped() -> Setup:
    signs = torch.randint(6, (1200, 8))
    model = _Unplaced()
    return Setup(
        model=model, train_loader=loader(signs, signs[:, 2]), optimizer=torch.optim.Adam(model.parameters(), 1e-2),
        rehearse_seconds=1,
    )  # fmt: skip


@fault("train_mode", *_WEIGHTS)
def evaluation_mode() -> Setup:
    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        model.eval()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss

    layers = [part for _ in range(8) for part in (nn.Linear(48, 48), nn.BatchNorm1d(48), nn.ReLU())]
    model = nn.Sequential(nn.Linear(64, 48), *layers, nn.Linear(48, 10))
    return on_digits(_with_weights(model, lambda weight: weight.normal_(0, 0.02)), step=step)


@fault("norm_usual")
def norm_statistics_stand_still() -> Setup:
    layers = [part for a in (64, 48) for part in (nn.Linear(a, 48), nn.BatchNorm1d(48, momentum=1e-6), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(48, 10))
    x, y = digits()
    return on_digits(model, train_loader=loader(x * 20 + 50, y))


class _FarFromZero(nn.Module):
    """A linear map by weights near 64, where bfloat16 has steps of a half."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((8, 1), 64.0))

    def forward(self, x: Tensor) -> Tensor:
        return x @ (self.weight - 64)


@fault("float32", *_LARGER)
def rounded_away() -> Setup:
    model = _FarFromZero().to(torch.bfloat16)
    x = torch.randn(640, 8).to(torch.bfloat16)
    return Setup(
        model=model, train_loader=loader(x, x.sum(dim=1, keepdim=True)), loss_fn=F.mse_loss,
        optimizer=torch.optim.SGD(model.parameters(), 0.05), rehearse_seconds=1,
    )  # fmt: skip


@fault("maximize_off", "update_reversed")
def maximised() -> Setup:
    model = he(mlp(64, 48, 48, 10))
    return on_digits(model, sgd(model, maximize=True))


@fault("update_reversed")
def uphill() -> Setup:
    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        (-loss).backward()
        optimizer.step()
        return loss

    return on_digits(he(mlp(64, 48, 48, 10)), step=step)


@fault("detach_off")
def logits_made_anew() -> Setup:
    def loss(model: Any, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]).detach().requires_grad_(), batch[1])

    return on_digits(mlp(64, 48, 48, 10), training_step=loss)


class _Rounded(nn.Module):
    """A net that answers in quarters."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(8, 48, 48, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.round(4 * self.net(x)) / 4


@fault("straight_through")
def rounded_answers() -> Setup:
    x, y, _ = random_programs.table()
    model = _Rounded()
    return Setup(
        model=model, train_loader=loader(x, y), loss_fn=F.mse_loss, optimizer=torch.optim.Adam(model.parameters(), 1e-2),
        rehearse_seconds=1,
    )  # fmt: skip


@fault("unfrozen")
def all_but_a_bias_frozen() -> Setup:
    model = he(mlp(64, 48, 48, 10)).requires_grad_(False)
    trained = [parameter.requires_grad_() for name, parameter in model.named_parameters() if name == "4.bias"]
    return on_digits(model, torch.optim.SGD(trained, 0.05, momentum=0.9))


@fault("rates_alike", *_SMALLER)
def rates_exchanged() -> Setup:
    model = he(mlp(64, 48, 48, 10))
    assert isinstance(model, nn.Sequential)
    groups = [{"params": model[:4].parameters(), "lr": 3.0}, {"params": model[4].parameters(), "lr": 5e-4}]
    return on_digits(model, torch.optim.SGD(groups, momentum=0.9))


@fault("batch_larger")
def one_example_against_itself() -> Setup:
    def loss(model: Any, batch: Any) -> Tensor:
        outputs = model(batch[0])
        return F.cross_entropy(outputs - outputs.mean(dim=0), batch[1])

    return on_digits(mlp(64, 48, 10), training_step=loss, train_loader=loader(*digits(), batch=1))


# ------------------------------------------------------------------------------------------------------------- healthy


@healthy
def sound_mlp() -> Setup:
    return on_digits(mlp(64, 48, 48, 10))


@healthy
def sound_mlp_adam() -> Setup:
    model = he(mlp(64, 48, 48, 48, 10))
    return on_digits(model, torch.optim.Adam(model.parameters(), 3e-3))


@healthy
def sound_tanh() -> Setup:
    return on_digits(mlp(64, 48, 48, 10, act=nn.Tanh))


@healthy
def sound_deep_he() -> Setup:
    model = he(mlp(64, *[48] * 11, 10))
    return on_digits(model, sgd(model, 0.02))


@healthy
def sound_cnn() -> Setup:
    return on_digits(cnn(), flat=False)


@healthy
def sound_cnn_dropout() -> Setup:
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(256, 10)
    )
    return on_digits(model, torch.optim.Adam(model.parameters(), 3e-3, weight_decay=1e-4), flat=False)


@healthy
def sound_batch_norm() -> Setup:
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.BatchNorm2d(12),
        nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 10),
    )  # fmt: skip
    return on_digits(model, sgd(model, 0.1, weight_decay=5e-4), flat=False)


@healthy
def sound_small_rate() -> Setup:
    model = he(mlp(64, 48, 10))
    return on_digits(model, sgd(model, 0.003))


@healthy
def sound_clipped() -> Setup:
    return on_digits(mlp(64, 48, 48, 10), clip=0.5)


@healthy
def sound_accumulation() -> Setup:
    count = {"batches": 0}

    def step(model: Any, optimizer: Any, batch: Any) -> Tensor:
        loss = F.cross_entropy(model(batch[0]), batch[1]) / 2
        loss.backward()
        count["batches"] += 1
        if count["batches"] % 2 == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    model = mlp(64, 48, 10)
    return on_digits(model, sgd(model, 0.1), step=step)


@healthy
def sound_noisy_regression() -> Setup:
    x, y, _ = random_programs.table()
    model = mlp(8, 48, 48, 1)
    noisy = y + 0.7 * torch.randn(y.shape)
    return Setup(
        model=model, train_loader=loader(x, noisy), loss_fn=F.mse_loss,
        optimizer=torch.optim.AdamW(model.parameters(), 3e-3), rehearse_seconds=1,
    )  # fmt: skip


@healthy
def sound_autoencoder() -> Setup:
    x, _ = digits()
    model = mlp(64, 32, 8, 32, 64)
    return Setup(
        model=model, train_loader=loader(x, x), loss_fn=F.mse_loss, optimizer=torch.optim.Adam(model.parameters(), 3e-3),
        rehearse_seconds=1,
    )  # fmt: skip


def _drawn(family: str, task: str, **spec: Any) -> Setup:
    """A program of `random_programs` with sound settings."""
    seed = next(s for s in range(10_000) if (d := random_programs.draw(s))["family"] == family and d["task"] == task)
    sound = {"fault": None, "init": "default", "schedule": None, "clip": None, "weight_decay": 0.0, "dropout": 0.0}
    whole = {**random_programs.draw(seed), **sound, "activation": "relu", **spec}
    program = random_programs.build(whole)
    of = random_programs.task(task)
    return Setup(
        model=program.model, train_loader=loader(of.inputs, of.targets, batch=of.batch), loss_fn=program.loss_fn,
        optimizer=program.optimizer, rehearse_seconds=1,
    )  # fmt: skip


@healthy
def vit() -> Setup:
    return _drawn("transformer", "classification", optimizer="adam", lr=3e-3, norm=True, depth=2, width=24)


@healthy
def small_gpt() -> Setup:
    return _drawn("transformer", "language", optimizer="adam", lr=3e-3, norm=True, depth=2, width=24)


@healthy
def recurrent() -> Setup:
    return _drawn("recurrent", "language", optimizer="adam", lr=5e-3, depth=1, width=24, cell="gru")


@healthy
def unet() -> Setup:
    return _drawn("unet", "segmentation", optimizer="adam", lr=3e-3, norm=True, depth=2, width=6)


@healthy
def residual() -> Setup:
    return _drawn("resnet", "classification", optimizer="momentum", lr=0.02, momentum=0.9, norm=True, depth=4, width=8)


@healthy
def slow_exclusive_or() -> Setup:
    torch.manual_seed(2)
    x, y = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]), torch.tensor([[0.0], [1], [1], [0]])
    model = nn.Sequential(nn.Linear(2, 8), nn.Sigmoid(), nn.Linear(8, 1), nn.Sigmoid())
    return Setup(
        model=model, train_loader=[(x, y)], loss_fn=F.mse_loss, optimizer=torch.optim.SGD(model.parameters(), 1.0),
        planned_steps=6000, rehearse_seconds=1,
    )  # fmt: skip
