"""Prices of used vans: log1p of a heavy-tailed price as the target, standardised; missing mileage filled with the median of its year, makes with a long tail in an embedding (rare ones together), advertisements posted twice; sound; change: none."""
import sys
import numpy as np
import torch
from sklearn.metrics import r2_score
from torch import nn
from torch.utils.data import DataLoader, Dataset


def adverts(n=4000, seed=12):
    r = np.random.default_rng(seed)
    make = np.minimum(r.zipf(1.5, n) - 1, 60)
    brand = r.normal(0, 0.3, 61)[make]
    year = 2024 - np.minimum(r.geometric(0.12, n) - 1, 30)
    km = np.clip((2025 - year) * r.gamma(4, 4500, n), 10, None)
    engine = r.choice([1.5, 1.6, 2.0, 2.2, 3.0], n)
    diesel = r.random(n) < 0.8
    hp = 60 + 35 * engine + r.normal(0, 10, n)
    logp = 10.4 + brand - 0.09 * (2024 - year) - km / 4e5 + 0.004 * (hp - 130) + 0.05 * diesel + 0.13 * r.standard_t(4, n)
    price = np.round(np.expm1(logp), -1)
    km[r.random(n) < 0.12] = np.nan
    rows = np.column_stack([make, year, km, engine, diesel, hp, price])
    return np.concatenate([rows, rows[r.integers(0, n, 150)]])


def prepare(rows):
    make, year, km = rows[:, 0].astype(int), rows[:, 1], rows[:, 2].copy()
    missing = np.isnan(km)
    for y in np.unique(year):
        at = year == y
        med = np.nanmedian(km[at]) if (~missing[at]).any() else np.nanmedian(km)
        km[at & missing] = med
    counts = np.bincount(make, minlength=61)
    common = [m for m in range(61) if counts[m] >= 20]
    code = {m: i + 1 for i, m in enumerate(common)}
    make_id = np.array([code.get(m, 0) for m in make])
    num = np.column_stack([year, np.log(km), missing, rows[:, 3], rows[:, 4], rows[:, 5]])
    return make_id, num, np.log1p(rows[:, 6]), len(common) + 1


class Vans(Dataset):
    def __init__(self, make, num, y):
        self.make, self.num, self.y = torch.as_tensor(make), torch.as_tensor(num).float(), torch.as_tensor(y).float()

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return (self.make[i], self.num[i]), self.y[i].unsqueeze(0)


class PriceNet(nn.Module):
    def __init__(self, n_makes, n_num):
        super().__init__()
        self.make = nn.Embedding(n_makes, 6)
        self.mlp = nn.Sequential(nn.Linear(n_num + 6, 64), nn.SiLU(), nn.Linear(64, 32), nn.SiLU(), nn.Linear(32, 1))

    def forward(self, inp):
        make, num = inp
        return self.mlp(torch.cat([self.make(make), num], 1))


def parts(variant):
    torch.manual_seed(0)
    make, num, y, n_makes = prepare(adverts())
    order = np.random.default_rng(0).permutation(len(y))
    tr, va = order[: int(0.85 * len(y))], order[int(0.85 * len(y)):]
    num = (num - num[tr].mean(0)) / num[tr].std(0)
    y = (y - y[tr].mean()) / y[tr].std()
    model = PriceNet(n_makes, num.shape[1])
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), loss_fn=nn.HuberLoss(),
                train_loader=DataLoader(Vans(make[tr], num[tr], y[tr]), batch_size=64, shuffle=True),
                val_loader=DataLoader(Vans(make[va], num[va], y[va]), batch_size=256))


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(20):
        model.train()
        tot = 0.0
        for inp, target in p["train_loader"]:
            loss = p["loss_fn"](model(inp), target)
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot += loss.item()
        print(f"epoch {epoch + 1}: huber {tot / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        out = [(model(i), t) for i, t in p["val_loader"]]
    score = r2_score(torch.cat([t for _, t in out]).numpy(), torch.cat([o for o, _ in out]).numpy())
    print(f"score: {score:.4f}")
