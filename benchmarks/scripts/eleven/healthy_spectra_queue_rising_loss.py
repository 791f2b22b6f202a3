"""Sound program: MoCo on spectra, SGD: keys from a slowly moving copy of the net (no gradient there) against a queue of old keys; the loss starts small, as all keys in the queue are still random, rises and stays high while the representation gets good."""
import copy
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.neighbors import KNeighborsClassifier
from torch.utils.data import DataLoader, TensorDataset

BINS, KINDS, QUEUE = 64, 8, 512


def minerals(n, seed):
    lines = np.random.default_rng(3).uniform(5, BINS - 5, (KINDS, 4))
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, KINDS, n)
    centre = lines[kind] + rng.normal(0, 0.5, (n, 4))
    height = rng.uniform(0.6, 1.4, (n, 4))
    s = (height[..., None] * np.exp(-0.5 * ((np.arange(BINS) - centre[..., None]) / 1.5) ** 2)).sum(1)
    s += rng.normal(0, 1.2, (n, 1)) * np.linspace(-1, 1, BINS) + rng.normal(0, 0.25, (n, BINS))
    return torch.tensor(s / 0.8, dtype=torch.float32), torch.tensor(kind)


def view(x):
    slope = torch.randn(len(x), 1) * torch.linspace(-1, 1, BINS) * 1.5
    shift = torch.randint(-1, 2, (1,)).item()
    return torch.roll(x, shift, 1) * (0.7 + 0.6 * torch.rand(len(x), 1)) + slope + 0.3 * torch.randn_like(x)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(BINS, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
        self.project = nn.Linear(64, 32)

    def forward(self, x):
        return F.normalize(self.project(self.body(x)), dim=1)


def parts(variant):
    torch.manual_seed(0)
    x, _ = minerals(3000, 1)
    query = Encoder()
    key = copy.deepcopy(query).requires_grad_(False)
    state = {"queue": F.normalize(torch.randn(QUEUE, 32), dim=1)}

    def step(model, batch, optimizer):
        spectra, = batch
        q = model(view(spectra))
        with torch.no_grad():
            k = key(view(spectra))
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ state["queue"].T], 1) / 0.1
        loss = F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(key.parameters(), model.parameters()):
                slow.mul_(0.98).add_(fast, alpha=0.02)
            state["queue"] = torch.cat([k, state["queue"]])[:QUEUE]
        return loss.detach()

    return {
        "model": query,
        "optimizer": torch.optim.SGD(query.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4),
        "train_loader": DataLoader(TensorDataset(x), batch_size=64, shuffle=True, drop_last=True),
        "step": step,
    }


WORKS = lambda score: score > 0.95


@torch.no_grad()
def neighbours_agree(model):
    (xa, ya), (xb, yb) = minerals(400, 5), minerals(600, 6)
    nearest = KNeighborsClassifier(5).fit(model.body(xa).numpy(), ya.numpy())
    return nearest.score(model.body(xb).numpy(), yb.numpy())


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(12):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch}: loss {losses[0]:.3f} .. {losses[-1]:.3f}, neighbours {neighbours_agree(p['model']):.3f}")
    print(f"score: {neighbours_agree(p['model']):.4f}")
