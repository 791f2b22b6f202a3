"""Matrix factorisation on ratings that come in daily logs; the ids are encoded anew for every log, so one index means another user and another item each day; change: fit the encoders once, on all logs."""
import argparse

import numpy as np
import torch
from sklearn.preprocessing import LabelEncoder
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

WORKS = lambda r2: r2 > 0.6


def read_logs(n_days=10, n_users=300, n_items=150, per_day=2500, seed=1):
    """Stands for ten csv files: raw user names, raw item codes, ratings."""
    rng = np.random.default_rng(seed)
    u, v = rng.normal(size=(n_users, 3)), rng.normal(size=(n_items, 3))
    bu, bi = rng.normal(0, 0.5, n_users), rng.normal(0, 0.7, n_items)
    names = np.array([f"user_{k:05d}" for k in rng.choice(99999, n_users, replace=False)])
    codes = np.array([f"B{k:06d}" for k in rng.choice(999999, n_items, replace=False)])
    logs = []
    for _ in range(n_days):
        users = rng.choice(rng.choice(n_users, 200, replace=False), per_day)
        items = rng.choice(rng.choice(n_items, 110, replace=False), per_day)
        r = 3.2 + bu[users] + bi[items] + 0.6 * (u[users] * v[items]).sum(1) + rng.normal(0, 0.3, per_day)
        logs.append((names[users], codes[items], r.astype("float32")))
    return logs


def encode(logs, variant):
    user_enc = LabelEncoder().fit(np.concatenate([d[0] for d in logs]))
    item_enc = LabelEncoder().fit(np.concatenate([d[1] for d in logs]))
    n_users, n_items = len(user_enc.classes_), len(item_enc.classes_)
    us, its, rs = [], [], []
    for users, items, r in logs:
        if variant == "bad":
            us.append(user_enc.fit_transform(users)), its.append(item_enc.fit_transform(items))
        else:
            us.append(user_enc.transform(users)), its.append(item_enc.transform(items))
        rs.append(r)
    pairs = np.stack([np.concatenate(us), np.concatenate(its)], 1)
    return torch.from_numpy(pairs), torch.from_numpy(np.concatenate(rs)), n_users, n_items


class BiasedMF(nn.Module):
    def __init__(self, n_users, n_items, mean, k=6):
        super().__init__()
        self.p, self.q = nn.Embedding(n_users, k), nn.Embedding(n_items, k)
        self.bu, self.bi = nn.Embedding(n_users, 1), nn.Embedding(n_items, 1)
        for e in (self.p, self.q):
            nn.init.normal_(e.weight, std=0.3)
        for e in (self.bu, self.bi):
            nn.init.zeros_(e.weight)
        self.register_buffer("mean", torch.tensor(float(mean)))

    def forward(self, pairs):
        u, i = pairs[:, 0], pairs[:, 1]
        return self.mean + self.bu(u).squeeze(1) + self.bi(i).squeeze(1) + (self.p(u) * self.q(i)).sum(1)


def parts(variant="fixed"):
    torch.manual_seed(0)
    x, y, n_users, n_items = encode(read_logs(), variant)
    train, test = random_split(TensorDataset(x, y), [0.85, 0.15])
    model = BiasedMF(n_users, n_items, y.mean())
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-5),
            "train_loader": DataLoader(train, batch_size=256, shuffle=True),
            "val_loader": DataLoader(test, batch_size=4096), "loss_fn": nn.MSELoss()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", nargs="?", choices=["bad", "fixed"], default="fixed")
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()
    p = parts(args.variant)
    for epoch in range(1, args.epochs + 1):
        p["model"].train()
        losses = []
        for pairs, r in p["train_loader"]:
            loss = p["loss_fn"](p["model"](pairs), r)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        p["model"].eval()
        with torch.no_grad():
            out = [(p["model"](a), b) for a, b in p["val_loader"]]
        pred, true = torch.cat([o[0] for o in out]), torch.cat([o[1] for o in out])
        mse = ((pred - true) ** 2).mean()
        if epoch % 2 == 0:
            print(f"epoch {epoch:2d}  train mse {np.mean(losses):.3f}  held-out mse {mse:.3f}")
    print("score:", round((1 - mse / true.var()).item(), 4))
