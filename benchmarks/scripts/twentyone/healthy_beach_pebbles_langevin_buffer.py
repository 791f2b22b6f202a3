"""An energy-based model of a three-armed point pattern, trained by contrastive divergence with Langevin samples from a replay buffer; its loss stays somewhat below zero and drifts down and up again."""
import sys
import math
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def pattern(n, seed):
    g = torch.Generator().manual_seed(seed)
    arm = torch.randint(0, 3, (n,), generator=g) * (2 * math.pi / 3)
    r = 0.6 + 1.2 * torch.rand(n, generator=g)
    x = torch.stack([r * torch.cos(arm), r * torch.sin(arm)], 1)
    return x + 0.22 * torch.randn(n, 2, generator=g)


class Sea(nn.Module):
    def __init__(self, buffer_size=1000):
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(2, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 1))
        self.register_buffer("replay", torch.rand(buffer_size, 2) * 4 - 2)

    def forward(self, x):
        return self.energy(x).squeeze(1) + 0.05 * x.pow(2).sum(1)

    def langevin(self, x, steps, size=0.01):
        x = x.clone()
        for _ in range(steps):
            x.requires_grad_(True)
            grad, = torch.autograd.grad(self(x).sum(), x)
            x = (x - size * grad + math.sqrt(2 * size) * torch.randn_like(x)).detach().clamp(-3, 3)
        return x

    def negatives(self, n, steps=40):
        rows = torch.randperm(len(self.replay))[:n]
        start = self.replay[rows]
        fresh = torch.rand(n, 1) < 0.05
        start = torch.where(fresh, torch.rand(n, 2) * 4 - 2, start)
        x = self.langevin(start, steps)
        self.replay[rows] = x
        return x


def contrastive_divergence(model, batch):
    real, = batch
    fake = model.negatives(len(real))
    e_real, e_fake = model(real), model(fake)
    return e_real.mean() - e_fake.mean() + 0.1 * (e_real.pow(2).mean() + e_fake.pow(2).mean())


def sliced_distance(a, b):
    w = torch.linspace(0, math.pi, 33)[:-1]
    v = torch.stack([w.cos(), w.sin()])
    return ((a @ v).sort(0).values - (b @ v).sort(0).values).abs().mean().item()


def parts(variant):
    torch.manual_seed(0)
    model = Sea()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.5, 0.999)),
        "training_step": contrastive_divergence,
        "train_loader": DataLoader(TensorDataset(pattern(4000, 1)), batch_size=250, shuffle=True),
        "val_loader": DataLoader(TensorDataset(pattern(2000, 2)), batch_size=500),
    }


WORKS = lambda score: score < 0.12

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(20):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print(f"epoch {epoch} loss {sum(losses) / len(losses):+.4f}")
    model.eval()
    real = torch.cat([batch[0] for batch in p["val_loader"]])
    samples = model.langevin(torch.rand(2000, 2) * 4 - 2, 1000)
    score = sliced_distance(samples, real)
    print(f"score: {score:.4f}")
