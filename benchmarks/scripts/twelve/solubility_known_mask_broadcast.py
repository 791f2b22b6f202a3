"""Solubility from descriptors, where 6 in 10 compounds were never measured (label filled with 0, flag `known`); the flag is (N,) and the squared error (N, 1), so their product is N x N, the flag cancels out and the filled labels are learned as if real; change: the flag as a column."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class Compounds(Dataset):
    """Rows of (descriptors, solubility, known)."""

    def __init__(self, n, seed, all_known=False):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, 12))
        w = np.random.default_rng(7).normal(size=(12, 3)) / np.sqrt(12)
        z = x @ w
        y = 1.2 * np.tanh(1.5 * z[:, 0]) + z[:, 1] * z[:, 2] + 0.5 * x[:, 0] + 0.1 * rng.normal(size=n)
        p = 1 / (1 + np.exp(-(-0.5 - 1.5 * x[:, 0])))  # the poorly soluble ones are measured more often
        known = np.ones(n) if all_known else (rng.random(n) < p)
        self.x = torch.tensor(x, dtype=torch.float32)
        self.known = torch.tensor(known, dtype=torch.float32)
        self.y = torch.tensor(np.where(known, y, 0.0), dtype=torch.float32)[:, None]

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i], self.known[i]


def masked_mse(pred, y, known):
    err = (pred - y) ** 2
    return (err * known).mean() / known.mean().clamp(min=1e-6)


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(12, 64), nn.SiLU(),
        nn.Linear(64, 64), nn.SiLU(),
        nn.Linear(64, 1),
    )

    def training_step(model, batch):
        x, y, known = batch
        if variant != "bad":
            known = known.unsqueeze(1)
        return masked_mse(model(x), y, known)

    def r2(output, target):
        return 1 - ((output - target) ** 2).sum().item() / ((target - target.mean()) ** 2).sum().item()

    return {
        "model": model,
        "optimizer": torch.optim.NAdam(model.parameters(), lr=2e-3),
        "train_loader": DataLoader(Compounds(4000, 0), batch_size=64, shuffle=True),
        "val_loader": DataLoader(Compounds(1000, 1, all_known=True), batch_size=250),
        "training_step": training_step,
        "metric": r2,
    }


@torch.no_grad()
def evaluate(model, loader, metric):
    model.eval()
    out, ys = zip(*[(model(x), y) for x, y, _ in loader])
    return metric(torch.cat(out), torch.cat(ys))


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(20):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch + 1:2d}  loss {total / len(p['train_loader']):.4f}  R2 {evaluate(model, p['val_loader'], p['metric']):.3f}")
    print(f"score: {evaluate(model, p['val_loader'], p['metric']):.4f}")
