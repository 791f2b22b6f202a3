"""Contrastive training (InfoNCE, two encoders) of the same moth calls as heard by an ultrasound and by a cheap microphone; the two loaders shuffle each by itself, so the rows of a zipped batch are no pairs, and the loss stays near log(batch); the right change: one loader over one dataset of pairs."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
BINS = 64


def recordings(n, seed):
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(5).normal(size=(BINS, 40)) / 8         # the cheap microphone smears the spectrum
    f = np.arange(BINS)
    x = np.zeros((n, BINS))
    for i in range(n):
        pos = rng.uniform(2, 14)
        gap = rng.uniform(5, 15)
        for _ in range(4):
            x[i] += np.exp(-((f - pos) / 2.0) ** 2) * rng.uniform(0.5, 1.3)
            pos += gap
    ultra = x + 0.1 * rng.normal(size=x.shape)
    cheap = (x + 0.1 * rng.normal(size=x.shape)) @ mix + 0.05 * rng.normal(size=(n, 40))
    ultra, cheap = [(a - a.mean(0)) / a.std(0) for a in (ultra, cheap)]
    return torch.tensor(ultra, dtype=torch.float32), torch.tensor(cheap, dtype=torch.float32)


class Zipped:
    """Batches of both microphones side by side."""

    def __init__(self, *loaders):
        self.loaders = loaders

    def __iter__(self):
        return zip(*self.loaders)

    def __len__(self):
        return len(self.loaders[0])


class TwoTowers(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.ultra = nn.Sequential(nn.Linear(BINS, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, dim))
        self.cheap = nn.Sequential(nn.Linear(40, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, dim))
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, ultra, cheap):
        a, b = F.normalize(self.ultra(ultra), dim=1), F.normalize(self.cheap(cheap), dim=1)
        return self.log_scale.exp() * a @ b.T


def training_step(model, batch):
    logits = model(*batch)
    target = torch.arange(len(logits))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def parts(variant):
    torch.manual_seed(0)
    ultra, cheap = recordings(3200, 0)

    if variant == "bad":
        train_loader = Zipped(DataLoader(ultra, batch_size=64, shuffle=True), DataLoader(cheap, batch_size=64, shuffle=True))
    else:
        train_loader = DataLoader(TensorDataset(ultra, cheap), batch_size=64, shuffle=True)

    model = TwoTowers()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": train_loader,
            "val_loader": DataLoader(TensorDataset(*recordings(300, 1)), batch_size=300)}


@torch.no_grad()
def recall_at_5(model, batch):
    model.eval()
    top = model(*batch).topk(5, dim=1).indices
    model.train()
    return (top == torch.arange(len(top))[:, None]).any(1).float().mean().item()


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    val = next(iter(p["val_loader"]))
    for epoch in range(40):
        losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        if epoch % 5 == 4:
            score = recall_at_5(model, val)
            print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f} (log 64 = 4.159), recall@5 {score:.3f}")
    print("score:", score)
