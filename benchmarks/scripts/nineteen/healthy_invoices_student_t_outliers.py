"""Sound: regression of invoice delays with Cauchy-like outliers by the negative log-likelihood of a Student t with learned scale; gradients of single batches vary widely and targets reach thousands. change: none."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def invoices(n, seed):
    r = np.random.RandomState(seed)
    X = r.normal(0, 1, (n, 7)).astype(np.float32)
    mean = 2 * np.sin(1.5 * X[:, 0]) + X[:, 1] * X[:, 2] + np.abs(X[:, 3])
    y = mean + 0.4 * r.standard_t(1.1, n)
    f = lambda a: torch.tensor(a, dtype=torch.float32)
    return TensorDataset(f(X), torch.stack([f(y), f(mean)], 1))


def student_nll(output, target):
    loc, raw = output.unbind(1)
    scale = F.softplus(raw) + 1e-3
    return -torch.distributions.StudentT(1.5, loc, scale).log_prob(target[:, 0]).mean()


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))
    return {"model": model, "loss_fn": student_nll, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "train_loader": DataLoader(invoices(4000, 0), batch_size=64, shuffle=True),
            "val_loader": DataLoader(invoices(800, 1), batch_size=200)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(20):
        p["model"].train()
        losses = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        p["model"].eval()
        with torch.no_grad():
            pred = torch.cat([p["model"](x)[:, 0] for x, _ in p["val_loader"]])
            mean = torch.cat([y[:, 1] for _, y in p["val_loader"]])
        r2 = 1 - ((pred - mean) ** 2).mean().item() / mean.var().item()
        print(f"epoch {epoch}: nll {np.mean(losses):.4f} r2 against the noiseless delay {r2:.4f}")
    print(f"score: {r2:.4f}")
