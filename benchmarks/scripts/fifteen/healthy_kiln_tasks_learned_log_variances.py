"""Healthy: a kiln's two measured outputs and a fault class from one trunk, weighed by learned log-variances that are parameters of the model and begin at zero; the total loss goes below zero while all three tasks improve. change: nothing, it is sound."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class KilnDataset(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        x = rng.uniform(-1, 1, (n, 8)).astype("float32")
        shrink = 0.6 * np.sin(2 * x[:, 0]) + 0.5 * x[:, 1] * x[:, 2] + 0.02 * rng.standard_normal(n)
        strength = 2.0 * x[:, 3] ** 2 - 1.5 * x[:, 0] + 0.05 * rng.standard_normal(n)
        crack = np.digitize(x[:, 4] + 0.7 * x[:, 1] * x[:, 5], [-0.35, 0.35])
        self.rows = [
            {"x": torch.from_numpy(a), "shrink": torch.tensor([b], dtype=torch.float32),
             "strength": torch.tensor([c], dtype=torch.float32), "crack": torch.tensor(int(d))}
            for a, b, c, d in zip(x, shrink, strength, crack)]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, idx):
        return self.rows[idx]


class MultiTaskNet(nn.Module):
    def __init__(self, n_in=8, hidden=64):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(n_in, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.heads = nn.ModuleDict({
            "shrink": nn.Linear(hidden, 1),
            "strength": nn.Linear(hidden, 1),
            "crack": nn.Linear(hidden, 3),
        })
        self.log_vars = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        z = self.trunk(x)
        return {name: head(z) for name, head in self.heads.items()}


def training_step(model, batch):
    out = model(batch["x"])
    losses = torch.stack([
        F.mse_loss(out["shrink"], batch["shrink"]),
        F.mse_loss(out["strength"], batch["strength"]),
        F.cross_entropy(out["crack"], batch["crack"]),
    ])
    precision = torch.exp(-model.log_vars)
    return (precision * losses + model.log_vars).sum()


def parts(variant):
    torch.manual_seed(0)
    model = MultiTaskNet()
    return dict(
        model=model,
        optimizer=torch.optim.Adam([
            {"params": [*model.trunk.parameters(), *model.heads.parameters()]},
            {"params": [model.log_vars], "lr": 1e-2},
        ], lr=2e-3),
        training_step=training_step,
        train_loader=DataLoader(KilnDataset(1500, 1), batch_size=50, shuffle=True),
        val_loader=DataLoader(KilnDataset(400, 2), batch_size=400),
    )


# the worst of the three: R squared, R squared, accuracy
WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(50):
        model.train()
        running = 0.0
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            optimizer.step()
            running += loss.item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1} loss {running / len(p['train_loader']):.4f} log_vars {[round(v, 2) for v in model.log_vars.tolist()]}")
    model.eval()
    with torch.no_grad():
        batch = next(iter(p["val_loader"]))
        out = model(batch["x"])
        r2 = [(1 - (out[k] - batch[k]).pow(2).mean() / batch[k].var()).item() for k in ("shrink", "strength")]
        acc = (out["crack"].argmax(1) == batch["crack"]).float().mean().item()
    print("R2", [round(v, 3) for v in r2], "accuracy", round(acc, 3))
    score = min(*r2, acc)
    print(f"score: {score:.4f}")
