"""More healthy programs: loops of their own."""

import copy
import itertools
from typing import Any

import torch
from healthy_parts import Program, Watch, digits, flat, loader, mlp, pairs, program, tokens
from torch import Tensor, nn
from torch.nn import functional as F


@program
def float16_with_a_scaler() -> Program:
    model = mlp(64, 128, 10)
    optimizer, scaler, watch = torch.optim.AdamW(model.parameters(), 3e-3), torch.amp.GradScaler("cpu"), Watch()

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: list[Tensor]) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.float16):
            loss = F.cross_entropy(model(batch[0]), batch[1])
        scaler.scale(loss).backward()
        watch(loss, grad_scale=scaler.get_scale())
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        return loss

    return Program({"model": model, "train_loader": loader(*digits()), "step": step, "optimizer": optimizer}, watch=watch)


class Wrapped(torch.optim.Optimizer):
    """An optimizer as Accelerate wraps it: by type one, its constructor never called, steps only where gradients are synced."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer, self.syncs = optimizer, True

    @property
    def state(self) -> Any:  # type: ignore[override]
        return self.optimizer.state

    @state.setter
    def state(self, state: Any) -> None:
        self.optimizer.state = state

    @property
    def param_groups(self) -> Any:  # type: ignore[override]
        return self.optimizer.param_groups

    @param_groups.setter
    def param_groups(self, groups: Any) -> None:
        self.optimizer.param_groups = groups

    @property
    def defaults(self) -> Any:  # type: ignore[override]
        return self.optimizer.defaults

    @defaults.setter
    def defaults(self, defaults: Any) -> None:
        self.optimizer.defaults = defaults

    def __getstate__(self) -> Any:
        return dict(vars(self))

    def __setstate__(self, state: Any) -> None:
        vars(self).update(state)

    def state_dict(self) -> Any:
        return self.optimizer.state_dict()

    def load_state_dict(self, state_dict: Any) -> None:
        self.optimizer.load_state_dict(state_dict)

    def zero_grad(self, set_to_none: bool = True) -> None:
        if self.syncs:
            self.optimizer.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> Any:
        if self.syncs:
            self.optimizer.step(closure)


@program
def wrapped_optimizer() -> Program:
    """Accumulates over four batches; the wrapper steps at every fourth."""
    model, watch, count = mlp(64, 64, 10), Watch(), {"batches": 0}
    optimizer = Wrapped(torch.optim.AdamW(model.parameters(), 3e-3))

    def step(model: nn.Module, optimizer: Wrapped, batch: list[Tensor]) -> Tensor:
        count["batches"] += 1
        optimizer.syncs = count["batches"] % 4 == 0
        loss = F.cross_entropy(model(batch[0]), batch[1])
        (loss / 4).backward()
        watch(loss)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    setup = {"model": model, "train_loader": loader(*digits(), batch=16), "step": step, "optimizer": optimizer}
    return Program(setup, sure=False, watch=watch, monitor={"accumulation": 4}, steps=300)


@program
def moving_average() -> Program:
    model, watch = mlp(64, 64, 10), Watch()
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: list[Tensor]) -> Tensor:
        loss = F.cross_entropy(model(batch[0]), batch[1])
        optimizer.zero_grad()
        loss.backward()
        watch(loss)
        optimizer.step()
        average.update_parameters(model)
        return loss

    return Program({"model": model, "train_loader": loader(*digits()), "step": step, "optimizer": optimizer}, watch=watch)


@program
def two_optimizers_of_one_model() -> Program:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.body = nn.Embedding(12, 16, sparse=True), mlp(8 * 16, 64, 12)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(self.embed(x).flatten(1))

    model, watch = Words(), Watch()
    optimizers = (torch.optim.SparseAdam(list(model.embed.parameters()), 3e-3), torch.optim.Adam(model.body.parameters(), 3e-3))

    def step(model: nn.Module, optimizer: tuple[Any, Any], batch: list[Tensor]) -> Tensor:
        loss = F.cross_entropy(model(batch[0]), batch[1])
        for each in optimizer:
            each.zero_grad()
        loss.backward()
        watch(loss)
        for each in optimizer:
            each.step()
        return loss

    text = tokens()
    setup = {"model": model, "train_loader": loader(text[:, :8], text[:, 8]), "step": step, "optimizer": optimizers}
    return Program(setup, sure=False, watch=watch, watched={"": (model, optimizers[1])})


@program
def wasserstein_gan() -> Program:
    """Five steps of the critic for one of the generator, with a gradient penalty; the critic's loss has no floor."""
    models, watch, count = {"generator": mlp(8, 64, 64), "critic": mlp(64, 64, 1)}, Watch(), {"batches": 0}
    optimizers = {name: torch.optim.Adam(part.parameters(), 5e-4, betas=(0.0, 0.9)) for name, part in models.items()}

    def step(model: dict[str, nn.Module], optimizer: dict[str, torch.optim.Optimizer], batch: list[Tensor]) -> Tensor:
        real, fake = batch[0], model["generator"](torch.randn(len(batch[0]), 8)).detach()
        share = torch.rand(len(real), 1)
        between = (share * real + (1 - share) * fake).requires_grad_()
        slope = torch.autograd.grad(model["critic"](between).sum(), between, create_graph=True)[0]
        loss = model["critic"](fake).mean() - model["critic"](real).mean() + 10 * (slope.norm(dim=1) - 1).square().mean()
        optimizer["critic"].zero_grad()
        loss.backward()
        watch(loss, "critic")
        optimizer["critic"].step()
        count["batches"] += 1
        if count["batches"] % 5 == 0:
            optimizer["generator"].zero_grad()
            other = -model["critic"](model["generator"](torch.randn(len(real), 8))).mean()
            other.backward()
            watch(other, "generator")
            optimizer["generator"].step()
        return loss.detach()

    setup = {"model": models, "train_loader": loader(flat()), "step": step, "optimizer": optimizers}
    return Program(setup, sure=False, watch=watch, watched=pairs(models, optimizers), steps=300, falls=False)


@program
def q_learning() -> Program:
    """A target net that is copied now and then; a walk on ten places, rewarded at the end."""
    model, watch = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 2)), Watch()
    target, optimizer, count = copy.deepcopy(model), torch.optim.Adam(model.parameters(), 2e-3), itertools.count(1)
    place, action = torch.randint(10, (2000,)), torch.randint(2, (2000,))
    after = (place + 2 * action - 1).clamp(0, 9)
    reward = (after == 9).float()
    eye = torch.eye(10)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: list[Tensor]) -> Tensor:
        place, action, reward, after = batch
        with torch.no_grad():
            wanted = reward + 0.9 * (1 - reward) * target(eye[after]).max(dim=1).values
        loss = F.smooth_l1_loss(model(eye[place]).gather(1, action[:, None])[:, 0], wanted)
        optimizer.zero_grad()
        loss.backward()
        watch(loss)
        optimizer.step()
        if next(count) % 20 == 0:
            target.load_state_dict(model.state_dict())
        return loss

    batches = loader(place, action, reward, after)
    setup = {"model": model, "train_loader": batches, "step": step, "optimizer": optimizer}
    return Program(setup, sure=False, watch=watch, steps=300, falls=False)


@program
def clipped_policy() -> Program:
    """PPO: four passes over what the old policy did, the ratio clipped, an entropy bonus."""
    model, watch = mlp(64, 64, 11), Watch()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: list[Tensor]) -> Tensor:
        with torch.no_grad():
            out = model(batch[0])
            action = torch.distributions.Categorical(logits=out[:, :10]).sample()
            before = out[:, :10].log_softmax(dim=1).gather(1, action[:, None])[:, 0]
            reward = (action == batch[1]).float()
            advantage = reward - out[:, 10]
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-6)
        loss = torch.zeros(())
        for _ in range(4):
            out = model(batch[0])
            choice = torch.distributions.Categorical(logits=out[:, :10])
            ratio = (choice.log_prob(action) - before).exp()
            gain = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
            loss = -gain + 0.5 * F.mse_loss(out[:, 10], reward) - 0.01 * choice.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            watch(loss)
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
        return loss

    setup = {"model": model, "train_loader": loader(*digits()), "step": step, "optimizer": optimizer}
    return Program(setup, sure=False, watch=watch, falls=False)


@program
def codebook() -> Program:
    """VQ-VAE: a straight-through estimator, codes that are learned by their own term."""

    class Quantised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.decode, self.codes = mlp(64, 64, 8), mlp(8, 64, 64), nn.Embedding(32, 8)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            z = self.encode(x)
            code = self.codes(torch.cdist(z, self.codes.weight).argmin(dim=1))
            extra = F.mse_loss(code, z.detach()) + 0.25 * F.mse_loss(z, code.detach())
            return self.decode(z + (code - z).detach()), extra

    model, watch = Quantised(), Watch()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: list[Tensor]) -> dict[str, Tensor]:
        output, extra = model(batch[0])
        loss = F.mse_loss(output, batch[0]) + extra
        optimizer.zero_grad()
        loss.backward()
        watch(loss)
        optimizer.step()
        return loss.detach()

    setup = {"model": model, "train_loader": loader(flat()), "step": step, "optimizer": optimizer}
    return Program(setup, sure=False, watch=watch)


@program
def experts() -> Program:
    """A mixture of experts: each example is sent to one of four, with a loss that balances them."""

    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.experts = nn.Linear(64, 4), nn.ModuleList([mlp(64, 32, 10) for _ in range(4)])

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            share = self.gate(x).softmax(dim=1)
            value, best = share.max(dim=1)
            out = torch.zeros(len(x), 10)
            for number, expert in enumerate(self.experts):
                if (rows := (best == number).nonzero()[:, 0]).numel():
                    out = out.index_add(0, rows, expert(x[rows]) * value[rows, None])
            balance = 4 * (F.one_hot(best, 4).float().mean(dim=0) * share.mean(dim=0)).sum()
            return out, balance

    model, watch = Mixture(), Watch()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: list[Tensor]) -> Tensor:
        logits, balance = model(batch[0])
        loss = F.cross_entropy(logits, batch[1]) + 0.01 * balance
        optimizer.zero_grad()
        loss.backward()
        watch(loss)
        optimizer.step()
        return loss

    batches = loader(flat(), digits()[1])
    return Program({"model": model, "train_loader": batches, "step": step, "optimizer": optimizer}, sure=False, watch=watch)


@program
def sharpness_aware() -> Program:
    """SAM: two backward passes a step, the second at weights that are moved and moved back."""
    model, watch = mlp(64, 64, 10), Watch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: list[Tensor]) -> Tensor:
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        norm = nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
        with torch.no_grad():
            moves = [0.05 * p.grad / (norm + 1e-12) for p in model.parameters()]
            for p, move in zip(model.parameters(), moves, strict=True):
                p.add_(move)
        optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        watch(loss)
        with torch.no_grad():
            for p, move in zip(model.parameters(), moves, strict=True):
                p.sub_(move)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return Program({"model": model, "train_loader": loader(*digits()), "step": step, "optimizer": optimizer}, watch=watch)


@program
def inner_loop() -> Program:
    """Meta-learning: the loss after one step of each task's own, through `torch.func`."""
    model, watch = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1)), Watch()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: list[Tensor]) -> Tensor:
        losses = []
        for phase in batch[0]:
            x = torch.rand(20, 1) * 4 - 2
            y = torch.sin(x + phase)
            weights = dict(model.named_parameters())
            inner = F.mse_loss(torch.func.functional_call(model, weights, (x[:10],)), y[:10])
            slopes = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
            moved = {name: w - 0.1 * slope for (name, w), slope in zip(weights.items(), slopes, strict=True)}
            losses.append(F.mse_loss(torch.func.functional_call(model, moved, (x[10:],)), y[10:]))
        loss = torch.stack(losses).mean()
        optimizer.zero_grad()
        loss.backward()
        watch(loss)
        optimizer.step()
        return loss

    batches = loader(torch.rand(256) * 3, batch=8)
    return Program(
        {"model": model, "train_loader": batches, "step": step, "optimizer": optimizer}, sure=False, watch=watch, steps=200
    )


@program
def truncated_backpropagation() -> Program:
    """A recurrent net that meets one long sequence in pieces, its state an attribute of the model."""

    class Stateful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.cells, self.head = nn.Embedding(12, 32), nn.GRU(32, 32, batch_first=True), nn.Linear(32, 12)
            self.state: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            out, state = self.cells(self.embed(x), self.state)
            self.state = state.detach()
            return self.head(out)

    model, watch = Stateful(), Watch()
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]) -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())
        loss.backward()
        watch(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    text = tokens()
    batches = [(part[:, i : i + 8], part[:, i + 1 : i + 9]) for part in text.split(64) for i in (0, 8, 16)]
    setup = {"model": model, "train_loader": batches, "step": step, "optimizer": optimizer}
    return Program(setup, sure=False, watch=watch)


@program
def several_heads() -> Program:
    """Three tasks, losses of several parts that the step returns in a dict."""

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(mlp(64, 64), nn.ReLU())
            self.digit, self.parity, self.ink = nn.Linear(64, 10), nn.Linear(64, 1), nn.Linear(64, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            z = self.body(x)
            return {"digit": self.digit(z), "parity": self.parity(z)[:, 0], "ink": self.ink(z)[:, 0]}

    model = Heads()

    def training_step(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        out = model(batch["image"])
        parts = {
            "digit": F.cross_entropy(out["digit"], batch["digit"]),
            "parity": F.binary_cross_entropy_with_logits(out["parity"], (batch["digit"] % 2).float()),
            "ink": F.mse_loss(out["ink"], batch["image"].mean(dim=1)),
        }
        return sum(parts.values())  # type: ignore[return-value]

    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    batches = [{"image": x, "digit": y} for x, y in zip(flat().split(64), digits()[1].split(64), strict=True)]
    setup = {"model": model, "train_loader": batches, "training_step": training_step, "optimizer": optimizer}
    return Program(setup, sure=False)


@program
def frozen_norm_fine_tuning() -> Program:
    """A pretrained body with its batch norms in evaluation mode, a new head with a larger rate."""
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())
    model = nn.Sequential(body, nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    x, y = digits()
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y // 2).backward()
        optimizer.step()
    model[1] = nn.Linear(64, 10)
    groups = [{"params": model[0].parameters(), "lr": 1e-4}, {"params": model[1].parameters(), "lr": 3e-3}]
    optimizer, watch = torch.optim.Adam(groups), Watch()

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: list[Tensor]) -> Tensor:
        model.train()
        model[0][2].eval()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        optimizer.zero_grad()
        loss.backward()
        watch(loss)
        optimizer.step()
        return loss

    setup = {"model": model, "train_loader": loader(x, y), "step": step, "optimizer": optimizer}
    return Program(setup, sure=False, watch=watch)
