"""Diabetes progression (raw targets of 25 to 346) by five heads on a shared body; each row carries bootstrap counts of 0 to 4 per head, so the rows repeat and many weights are zero; a constant column stands for the intercept, a target scale is learned in the output layer; sound."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes
from torch.utils.data import DataLoader, TensorDataset

HEADS = 5


class Bagged(nn.Module):
    def __init__(self, mean, std):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(11, 32), nn.Tanh())
        self.heads = nn.Linear(32, HEADS)
        self.gain = nn.Parameter(torch.tensor(float(std)))
        self.offset = nn.Parameter(torch.tensor(float(mean)))

    def forward(self, x):
        return self.offset + self.gain * self.heads(self.body(x))


def training_step(model, batch):
    x, y, counts = batch
    err = (model(x) - y[:, None]) ** 2
    return (counts * err).sum() / counts.sum()


def parts(variant):
    torch.manual_seed(0)
    data = load_diabetes()
    x = torch.tensor(data.data / data.data.std(0), dtype=torch.float32)
    x = torch.cat([torch.ones(len(x), 1), x], 1)
    y = torch.tensor(data.target, dtype=torch.float32)
    order = torch.randperm(len(x))
    tr, va = order[:342], order[342:]
    counts = torch.stack([torch.bincount(torch.randint(0, len(tr), (len(tr),)), minlength=len(tr))
                          for _ in range(HEADS)], 1).float()
    model = Bagged(y[tr].mean(), y[tr].std())
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-4)
    return {"model": model, "optimizer": optimizer, "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(x[tr], y[tr], counts), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[va], y[va], torch.ones(len(va), HEADS)), batch_size=100)}


WORKS = lambda score: score > 0.35      # R2 of the mean of the heads

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(40):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            x, y, _ = next(iter(p["val_loader"]))
            r2 = 1 - (model(x).mean(1) - y).pow(2).mean().item() / y.var().item()
        print(f"epoch {epoch} loss {np.mean(losses):.1f} r2 {r2:.3f}")
    print(f"score: {r2:.4f}")
