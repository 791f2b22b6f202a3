"""Will a client claim? Table with a postcode of many values, target-encoded, MLP with Adam; the mean of a postcode's claims includes the row's own claim, which many postcodes of two or three clients give away, and new clients have no such help; change: the encoding of a training row leaves the row itself out."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader, TensorDataset

CODES, PRIOR = 1500, 0.3


def clients(n, seed):
    w = np.random.default_rng(5)
    risk = 0.5 * w.normal(size=CODES)
    rng = np.random.default_rng(seed)
    code = rng.integers(0, CODES, n)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    logit = 1.3 * x[:, 0] - 1.0 * x[:, 1] * x[:, 2] + 0.8 * np.abs(x[:, 3]) - 0.6 + risk[code]
    y = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    return x, code, y


class TargetEncoder:
    """Smoothed mean of the target for each code."""

    def fit(self, code, y):
        self.sum = np.bincount(code, weights=y, minlength=CODES)
        self.n = np.bincount(code, minlength=CODES)
        self.base = y.mean()
        return self

    def transform(self, code, y=None):
        s, n = self.sum[code], self.n[code].astype(float)
        if y is not None:  # leave the row itself out
            s, n = s - y, n - 1
        return (s + PRIOR * self.base) / (n + PRIOR)


def parts(variant):
    torch.manual_seed(0)
    x, code, y = clients(3500, 1)
    xv, cv, yv = clients(2000, 2)
    enc = TargetEncoder().fit(code, y)
    e = enc.transform(code) if variant == "bad" else enc.transform(code, y)
    ev = enc.transform(cv)
    mean, std = e.mean(), e.std()
    pack = lambda x, e, y: TensorDataset(
        torch.from_numpy(np.column_stack([x, (e - mean) / std]).astype(np.float32)), torch.from_numpy(y)[:, None])
    model = nn.Sequential(nn.Linear(7, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1))
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4),
        "loss_fn": nn.BCEWithLogitsLoss(),
        "train_loader": DataLoader(pack(x, e, y), batch_size=64, shuffle=True),
        "val_loader": DataLoader(pack(xv, ev, yv), batch_size=500),
    }


def auc(model, loader):
    model.eval()
    with torch.no_grad():
        p = torch.cat([model(x) for x, _ in loader])
    return roc_auc_score(torch.cat([y for _, y in loader]).numpy(), p.numpy())


WORKS = lambda score: score > 0.76

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: train loss {np.mean(losses):.3f}, AUC of new clients {auc(model, p['val_loader']):.3f}")
    print(f"score: {auc(model, p['val_loader']):.4f}")
