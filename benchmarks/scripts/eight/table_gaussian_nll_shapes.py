"""Tabular regression that predicts a mean and a variance (Gaussian likelihood); targets are (B,) and the mean (B, 1), so the difference broadcasts to (B, B); change: `fixed` hands over targets of shape (B, 1)."""
import sys
import math
import torch
import torch.nn as nn
from sklearn.datasets import make_friedman1
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

WORKS = lambda score: score > 0.75      # R^2 on the test rows


class MeanVarianceNet(nn.Module):
    def __init__(self, d, h=64):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(d, h), nn.SiLU(), nn.Linear(h, h), nn.SiLU())
        self.mu = nn.Linear(h, 1)
        self.log_var = nn.Linear(h, 1)

    def forward(self, x):
        h = self.trunk(x)
        return self.mu(h), self.log_var(h).clamp(-8, 6)


def gaussian_nll(output, y):
    mu, log_var = output
    return 0.5 * (log_var + (y - mu) ** 2 / log_var.exp() + math.log(2 * math.pi)).mean()


def load(variant):
    X, y = make_friedman1(n_samples=2400, n_features=10, noise=1.0, random_state=0)
    Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.25, random_state=0)
    sx, sy = StandardScaler().fit(Xtr), StandardScaler().fit(ytr[:, None])
    f = lambda a: torch.tensor(a, dtype=torch.float32)
    out = []
    for X_, y_ in ((Xtr, ytr), (Xte, yte)):
        target = f(sy.transform(y_[:, None]))
        if variant == "bad":
            target = target.squeeze(1)
        out.append(torch.utils.data.TensorDataset(f(sx.transform(X_)), target))
    return out


def parts(variant):
    torch.manual_seed(8)
    train, test = load(variant)
    model = MeanVarianceNet(10)
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-3),
            "train_loader": torch.utils.data.DataLoader(train, batch_size=32, shuffle=True),
            "val_loader": torch.utils.data.DataLoader(test, batch_size=100),
            "loss_fn": gaussian_nll}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(60):
        epoch_loss = 0.0
        for xb, yb in p["train_loader"]:
            optimizer.zero_grad()
            loss = gaussian_nll(model(xb), yb)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            epoch_loss += loss.item() * len(xb)
        if epoch % 10 == 9:
            print(f"{epoch + 1:3d} nll {epoch_loss / len(p['train_loader'].dataset):.4f}")
    X, y = p["val_loader"].dataset.tensors
    with torch.no_grad():
        mu = model(X)[0].squeeze(1)
    y = y.flatten()
    print("score: %.4f" % (1 - ((y - mu) ** 2).sum() / ((y - y.mean()) ** 2).sum()).item())
