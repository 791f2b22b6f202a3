"""Diffusion on three letters drawn as point clouds: cosine schedule, v-prediction, the class label replaced by a null label in a tenth of the cases for guidance, an averaged copy for sampling; sound. change: nothing."""
import sys
import copy
import math
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

T, NULL = 100, 3
STROKES = {0: [((-1, -1), (-1, 1)), ((-1, -1), (1, -1))],                          # L
           1: [((-1, 1), (1, 1)), ((0, 1), (0, -1))],                              # T
           2: [((-1, 1), (0, -1)), ((0, -1), (1, 1))]}                             # V


def letters(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n,), generator=g)
    s, u = torch.randint(0, 2, (n,), generator=g), torch.rand(n, 1, generator=g)
    ends = torch.tensor([STROKES[c] for c in range(3)], dtype=torch.float32)[y, s]
    return ends[:, 0] + u * (ends[:, 1] - ends[:, 0]) + 0.05 * torch.randn(n, 2, generator=g), y


class Velocity(nn.Module):
    def __init__(self, h=128):
        super().__init__()
        self.label, self.time = nn.Embedding(4, h), nn.Sequential(nn.Linear(16, h), nn.SiLU(), nn.Linear(h, h))
        self.inp = nn.Linear(2, h)
        self.mid = nn.ModuleList([nn.Linear(h, h), nn.Linear(h, h)])
        self.out = nn.Linear(h, 2)
        self.register_buffer("freq", torch.exp(torch.linspace(0, math.log(60.0), 8)))

    def forward(self, x, t, y):
        a = t[:, None] * self.freq
        c = self.time(torch.cat([a.sin(), a.cos()], 1)) + self.label(y)
        h = self.inp(x)
        for m in self.mid:
            h = h + nn.functional.silu(m(nn.functional.silu(h + c)))
        return self.out(h)


def alpha_sigma(t):
    return torch.cos(t * math.pi / 2)[:, None], torch.sin(t * math.pi / 2)[:, None]


def training_step(model, batch):
    x0, y = batch
    t = torch.rand(len(x0)) * 0.998 + 0.001
    a, s = alpha_sigma(t)
    eps = torch.randn_like(x0)
    y = torch.where(torch.rand(len(y)) < 0.1, torch.full_like(y, NULL), y)
    return (model(a * x0 + s * eps, t, y) - (a * eps - s * x0)).pow(2).mean()


@torch.no_grad()
def sample(model, y, scale=1.5):
    x = torch.randn(len(y), 2)
    ts = torch.linspace(0.999, 0.0, T + 1)
    for t, nxt in zip(ts[:-1], ts[1:]):
        tt = t.expand(len(y))
        free, cond = model(x, tt, torch.full_like(y, NULL)), model(x, tt, y)
        v = free + scale * (cond - free)
        a, s = alpha_sigma(tt)
        x0, eps = a * x - s * v, s * x + a * v
        a, s = alpha_sigma(nxt.expand(len(y)))
        x = a * x0 + s * eps
    return x


def parts(variant):
    torch.manual_seed(0)
    x, y = letters(6400, 1)
    model = Velocity()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), training_step=training_step,
                train_loader=DataLoader(TensorDataset(x, y), 128, shuffle=True),
                val_loader=DataLoader(TensorDataset(*letters(900, 2)), 900))


WORKS = lambda score: score < 0.12  # mean distance of a drawn point to the nearest held-out point of its letter

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    ema = copy.deepcopy(model)
    for epoch in range(26):
        losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad(); loss.backward(); opt.step()
            with torch.no_grad():
                for e, w in zip(ema.parameters(), model.parameters()):
                    e.mul_(0.99).add_(w, alpha=0.01)
            losses.append(loss.item())
        if epoch % 5 == 0:
            print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f}")
    (x, y), = p["val_loader"]
    drawn = sample(ema, y)
    score = sum(torch.cdist(drawn[y == c], x[y == c]).min(1).values.mean().item() for c in range(3)) / 3
    print(f"score: {score:.4f}")
