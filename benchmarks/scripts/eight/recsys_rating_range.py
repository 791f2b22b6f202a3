"""Neural matrix factorisation of star ratings 1 to 5; the last sigmoid can only answer 0 to 1, so every prediction saturates at 1; change: `fixed` stretches the sigmoid to 0.5 .. 5.5."""
import argparse
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score < 0.85     # test RMSE in stars (mean predictor: about 1.15)


def fake_movielens(n_users=300, n_items=200, k=3, n=24000, seed=0):
    rng = np.random.default_rng(seed)
    U, V = rng.normal(0, 1, (n_users, k)), rng.normal(0, 1, (n_items, k))
    bu, bi = rng.normal(0, .4, n_users), rng.normal(0, .5, n_items)
    u, i = rng.integers(0, n_users, n), rng.integers(0, n_items, n)
    r = 3.4 + bu[u] + bi[i] + (U[u] * V[i]).sum(1) * 0.6 + rng.normal(0, .3, n)
    return u, i, np.clip(np.rint(r), 1, 5).astype(np.float32)


class EmbeddingDot(nn.Module):
    def __init__(self, n_users, n_items, k=8, y_range=None):
        super().__init__()
        self.u, self.i = nn.Embedding(n_users, k), nn.Embedding(n_items, k)
        self.ub, self.ib = nn.Embedding(n_users, 1), nn.Embedding(n_items, 1)
        for e in (self.u, self.i, self.ub, self.ib):
            nn.init.uniform_(e.weight, -0.05, 0.05)
        self.y_range = y_range

    def forward(self, cats):
        users, items = cats[:, 0], cats[:, 1]
        res = (self.u(users) * self.i(items)).sum(1) + self.ub(users).squeeze(1) + self.ib(items).squeeze(1)
        res = torch.sigmoid(res)
        if self.y_range:
            lo, hi = self.y_range
            res = res * (hi - lo) + lo
        return res


def rmse(out, y):
    return (out - y).pow(2).mean().sqrt().item()


def parts(variant):
    torch.manual_seed(0)
    u, i, r = fake_movielens()
    cats = torch.from_numpy(np.stack([u, i], 1))
    ratings = torch.from_numpy(r)
    train, valid = TensorDataset(cats[:20000], ratings[:20000]), TensorDataset(cats[20000:], ratings[20000:])
    model = EmbeddingDot(300, 200, y_range=None if variant == "bad" else (0.5, 5.5))
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-5),
            "train_loader": DataLoader(train, batch_size=128, shuffle=True),
            "val_loader": DataLoader(valid, batch_size=500),
            "loss_fn": nn.MSELoss(), "metric": rmse}


def fit(p, n_epochs):
    model, opt, crit = p["model"], p["optimizer"], p["loss_fn"]
    for e in range(n_epochs):
        model.train()
        tr = []
        for cats, y in p["train_loader"]:
            preds = model(cats)
            loss = crit(preds, y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            tr.append(loss.item())
        model.eval()
        with torch.no_grad():
            cats, y = p["val_loader"].dataset.tensors
            va = rmse(model(cats), y)
        print(e, round(np.mean(tr), 4), round(va, 4))
    return va


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", nargs="?", default="fixed", choices=["bad", "fixed"])
    parser.add_argument("-n", "--epochs", type=int, default=18)
    args = parser.parse_args()
    print("score: %.4f" % fit(parts(args.variant), args.epochs))
