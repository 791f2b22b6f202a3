"""Survival of ship passengers, a Kaggle table: categories as embeddings, a fifth of the ages missing and filled with the median, some rows twice (also across the split), a batch norm over the numbers; sound; change: none."""
import sys
import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

CATS = ["sex", "pclass", "port", "title"]


def passengers(n=1100, seed=4):
    r = np.random.default_rng(seed)
    sex = r.integers(0, 2, n)
    pclass = r.choice(3, n, p=[0.24, 0.2, 0.56])
    port = r.choice(4, n, p=[0.7, 0.19, 0.09, 0.02])
    age = np.clip(r.gamma(6, 5, n), 0.5, 80)
    title = np.where(age < 12, 2, sex)
    title[r.random(n) < 0.03] = 3
    sibs = r.poisson(0.5, n)
    fare = np.exp(r.normal([4.2, 2.9, 2.4], 0.6, (n, 3))[np.arange(n), pclass])
    z = 3.2 * (sex == 1) - 1.3 * pclass + 1.5 * (age < 12) - 0.4 * sibs - 0.02 * (age - 30) - 0.3
    y = (r.random(n) < 1 / (1 + np.exp(-1.8 * z))).astype("float32")
    age[r.random(n) < 0.2] = np.nan
    missing = np.isnan(age)
    age = np.where(missing, np.nanmedian(age), age)
    cat = np.stack([sex, pclass, port, title], 1)
    num = np.stack([age, fare, sibs, missing], 1).astype("float32")
    twice = r.integers(0, n, 60)
    return np.concatenate([cat, cat[twice]]), np.concatenate([num, num[twice]]), np.concatenate([y, y[twice]])


class TabularModel(nn.Module):
    def __init__(self, cards, n_num):
        super().__init__()
        self.embeds = nn.ModuleList([nn.Embedding(c, min(50, (c + 1) // 2)) for c in cards])
        n_emb = sum(e.embedding_dim for e in self.embeds)
        self.bn = nn.BatchNorm1d(n_num)
        self.drop = nn.Dropout(0.05)
        self.layers = nn.Sequential(nn.Linear(n_emb + n_num, 50), nn.ReLU(), nn.BatchNorm1d(50), nn.Dropout(0.2), nn.Linear(50, 1))

    def forward(self, x_cat, x_num):
        x = torch.cat([e(x_cat[:, i]) for i, e in enumerate(self.embeds)], 1)
        return self.layers(torch.cat([self.drop(x), self.bn(x_num)], 1))[:, 0]


def parts(variant):
    torch.manual_seed(0)
    cat, num, y = passengers()
    tr, va = train_test_split(np.arange(len(y)), test_size=0.2, random_state=42)
    data = [torch.as_tensor(a) for a in (cat, num, y)]
    model = TabularModel([2, 3, 4, 4], 4)
    bce = nn.BCEWithLogitsLoss()

    def training_step(model, batch):
        x_cat, x_num, target = batch
        return bce(model(x_cat, x_num), target)

    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4), training_step=training_step,
                train_loader=DataLoader(TensorDataset(*[d[tr] for d in data]), batch_size=64, shuffle=True),
                val_loader=DataLoader(TensorDataset(*[d[va] for d in data]), batch_size=64))


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(20):
        model.train()
        ls = []
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
            ls.append(loss.item())
        print(f"epoch {epoch} train_loss {np.mean(ls):.4f}")
    model.eval()
    with torch.no_grad():
        ok = torch.cat([(model(c, n) > 0).float() == y for c, n, y in p["val_loader"]])
    score = ok.float().mean().item()
    print(f"score: {score:.4f}")
