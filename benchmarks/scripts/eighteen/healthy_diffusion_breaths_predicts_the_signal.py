"""Sound: a diffusion model for curves of breaths that predicts the clean curve, cosine schedule, convolutions along the curve, and a running average of the weights for sampling; the loss is noisy from step to step. change: nothing."""
import copy
import math
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

STEPS, L = 60, 24


def breaths(n, seed):
    g = torch.Generator().manual_seed(seed)
    s = torch.linspace(0, 1, L)
    intake = 0.3 + 0.25 * torch.rand(n, 1, generator=g)
    depth = 1.4 + 0.3 * torch.randn(n, 1, generator=g)
    up, down = torch.sin(math.pi * s / (2 * intake)), torch.exp(-(s - intake) * 4)
    return depth * torch.where(s < intake, up, down) - 0.9 + 0.03 * torch.randn(n, L, generator=g)


def cosine_alphas_bar():
    t = torch.arange(1, STEPS + 1) / STEPS
    return (torch.cos((t + 0.01) / 1.02 * math.pi / 2) ** 2).clamp(1e-4, 0.9999)


AB = cosine_alphas_bar()


class ResBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm, self.conv1, self.conv2, self.time = nn.GroupNorm(4, c), nn.Conv1d(c, c, 5, padding=2), nn.Conv1d(c, c, 5, padding=2), nn.Linear(32, c)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x, e):
        h = self.conv1(torch.nn.functional.silu(self.norm(x))) + self.time(e).unsqueeze(2)
        return x + self.conv2(torch.nn.functional.silu(h))


class BreathNet(nn.Module):
    def __init__(self, c=32):
        super().__init__()
        self.register_buffer("freq", torch.exp(torch.linspace(0, math.log(100), 16)))
        self.inp = nn.Conv1d(2, c, 5, padding=2)
        self.blocks = nn.ModuleList([ResBlock(c) for _ in range(3)])
        self.out = nn.Conv1d(c, 1, 5, padding=2)
        self.register_buffer("place", torch.linspace(-1, 1, L))

    def forward(self, x, t):
        a = (t.float() / STEPS).unsqueeze(1) * self.freq
        e = torch.cat([a.sin(), a.cos()], 1)
        h = self.inp(torch.stack([x, self.place.expand_as(x)], 1))
        for b in self.blocks:
            h = b(h, e)
        return self.out(h).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    net = BreathNet()
    average = copy.deepcopy(net).requires_grad_(False)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)

    def step(model, batch, optimizer):
        x, = batch
        t = torch.randint(0, STEPS, (len(x),))
        ab = AB[t].unsqueeze(1)
        noised = ab.sqrt() * x + (1 - ab).sqrt() * torch.randn_like(x)
        loss = (model(noised, t) - x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for a, p in zip(average.parameters(), model.parameters()):
                a.lerp_(p, 0.01)
        return loss

    return {"model": net, "average": average, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(TensorDataset(breaths(2560, 1)), 64, shuffle=True), "val_loader": DataLoader(TensorDataset(breaths(1000, 2)), 1000)}


@torch.no_grad()
def sample(net, n):
    """DDIM with all the steps."""
    x = torch.randn(n, L)
    for t in reversed(range(STEPS)):
        clean = net(x, torch.full((n,), t))
        eps = (x - AB[t].sqrt() * clean) / (1 - AB[t]).sqrt()
        before = AB[t - 1] if t else torch.tensor(1.0)
        x = before.sqrt() * clean + (1 - before).sqrt() * eps
    return x


WORKS = lambda score: score < 0.8  # mean distance from a drawn breath to the nearest real one

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(30):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.4f}")
    real = next(iter(p["val_loader"]))[0]
    print(f"score: {torch.cdist(sample(p['average'], 300), real).min(1).values.mean().item():.4f}")
