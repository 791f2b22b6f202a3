"""Denoising diffusion on sklearn's 8x8 digits with an averaged copy of the net (EMA) for use; the call has the two nets the wrong way round, so the copy stays as it was drawn and the trained net is pulled towards it; change: the order of the arguments."""
import copy
import math
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

STEPS = 100
BETAS = torch.linspace(1e-3, 0.08, STEPS)
KEPT = torch.cumprod(1 - BETAS, 0)


class Denoiser(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.register_buffer("freq", torch.exp(torch.linspace(0, math.log(100.0), 16)))
        self.time = nn.Sequential(nn.Linear(32, width), nn.SiLU(), nn.Linear(width, width))
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(6, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)) for _ in range(4))
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x, t):
        angle = (t.float() / STEPS)[:, None] * self.freq
        emb = self.time(torch.cat([angle.sin(), angle.cos()], 1))[:, :, None, None]
        h = self.first(x)
        for block in self.blocks:
            h = h + block(h + emb)
        return self.last(torch.nn.functional.silu(h))


def noised(x, t, noise):
    a = KEPT[t].view(-1, 1, 1, 1)
    return a.sqrt() * x + (1 - a).sqrt() * noise


@torch.no_grad()
def update_average(average, current, decay=0.98):
    for a, c in zip(average.parameters(), current.parameters()):
        a.mul_(decay).add_(c, alpha=1 - decay)


def parts(variant):
    torch.manual_seed(0)
    images = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 8 - 1
    images = images[torch.randperm(len(images))]
    model = Denoiser()
    ema = copy.deepcopy(model).requires_grad_(False)

    def step(model, batch, optimizer):
        x, = batch
        t = torch.randint(0, STEPS, (len(x),))
        noise = torch.randn_like(x)
        loss = ((model(noised(x, t, noise), t) - noise) ** 2).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if variant == "bad":
            update_average(model, ema)
        else:
            update_average(ema, model)
        return loss.detach()

    return {
        "model": model,
        "ema": ema,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4),
        "train_loader": DataLoader(TensorDataset(images[:1500]), batch_size=64, shuffle=True, drop_last=True),
        "val_loader": DataLoader(TensorDataset(images[1500:]), batch_size=150),
        "step": step,
    }


WORKS = lambda score: score > 0.6


@torch.no_grad()
def explained(net, loader):
    """share of the noise that the net finds, over held-out digits and all times"""
    g = torch.Generator().manual_seed(5)
    left = count = 0.0
    for x, in loader:
        for t in range(0, STEPS, 5):
            noise = torch.randn(x.shape, generator=g)
            ts = torch.full((len(x),), t)
            left += ((net(noised(x, ts, noise), ts) - noise) ** 2).sum().item()
            count += noise.numel()
    return 1 - left / count


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(6):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}")
    print(f"score: {explained(p['ema'], p['val_loader']):.4f}")
