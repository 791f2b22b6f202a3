"""Healthy: minimal flow matching on a checkerboard: the net regresses the straight velocity from noise to data at a random time, so the loss cannot get near zero; an exponential average of the weights is what is sampled from. change: nothing, it is sound."""
import copy
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def checkerboard(n, seed):
    g = torch.Generator().manual_seed(seed)
    x1 = torch.rand(n, generator=g) * 4 - 2
    x2 = torch.rand(n, generator=g) - torch.randint(high=2, size=(n,), generator=g) * 2
    x2 = x2 + (torch.floor(x1) % 2)
    return torch.stack([x1, x2], 1) * 2.0


def on_black(x):
    inside = (x.abs() <= 4).all(1)
    x = x / 2
    return inside & ((torch.floor(x[:, 0]) + torch.floor(x[:, 1])) % 2 == 0)


class Velocity(nn.Module):
    def __init__(self, dim=2, h=128):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(dim + 1, h), nn.ELU(), nn.Linear(h, h), nn.ELU(), nn.Linear(h, h), nn.ELU(), nn.Linear(h, dim))

    def forward(self, x_t, t):
        return self.net(torch.cat((t, x_t), -1))

    @torch.no_grad()
    def sample(self, n, n_steps=60):
        x = torch.randn(n, 2)
        for i in range(n_steps):
            t0 = torch.full((n, 1), i / n_steps)
            h = 1 / n_steps
            mid = x + self(x, t0) * h / 2
            x = x + h * self(mid, t0 + h / 2)
        return x


class EMA:
    def __init__(self, model, decay=0.995):
        self.decay, self.shadow = decay, copy.deepcopy(model).requires_grad_(False)

    def update(self, model):
        with torch.no_grad():
            for s, p in zip(self.shadow.parameters(), model.parameters()):
                s.lerp_(p, 1 - self.decay)


def parts(variant):
    torch.manual_seed(0)
    flow = Velocity()
    ema = EMA(flow)

    def step(model, batch, optimizer):
        (x_1,) = batch
        x_0 = torch.randn_like(x_1)
        t = torch.rand(len(x_1), 1)
        x_t = (1 - t) * x_0 + t * x_1
        dx_t = x_1 - x_0
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x_t, t), dx_t)
        loss.backward()
        optimizer.step()
        ema.update(model)
        return loss.detach()

    return dict(
        model=flow,
        ema=ema,
        optimizer=torch.optim.Adam(flow.parameters(), lr=5e-3),
        step=step,
        train_loader=DataLoader(TensorDataset(checkerboard(20000, 1)), batch_size=250, shuffle=True),
        val_loader=DataLoader(TensorDataset(checkerboard(2000, 2)), batch_size=500),
    )


# share of samples on the dark squares; a smooth cloud of points would have a half at most
WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    print(f"data on the dark squares: {on_black(checkerboard(2000, 3)).float().mean().item():.3f}")
    for epoch in range(60):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        if epoch % 6 == 5:
            print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f}")
    score = on_black(p["ema"].shadow.sample(2000)).float().mean().item()
    print(f"score: {score:.4f}")
