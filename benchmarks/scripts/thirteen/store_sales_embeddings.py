"""Entity embeddings (shop, product, weekday) and an MLP that predicts log sales; bad: the embedding tables sit in a plain dict, are in no module and are not trained; change: nn.ModuleDict."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader

SIZES = {"shop": 150, "product": 200, "weekday": 7}


class Sales(Dataset):
    def __init__(self, n, seed):
        world = np.random.default_rng(0)
        effect = {k: world.standard_normal(size) for k, size in SIZES.items()}
        rng = np.random.default_rng(seed)
        self.codes = np.stack([rng.integers(0, size, n) for size in SIZES.values()], 1)
        self.promo = rng.random(n) < 0.3
        sales = 0.9 * effect["shop"][self.codes[:, 0]] + 0.9 * effect["product"][self.codes[:, 1]]
        sales += 0.3 * effect["weekday"][self.codes[:, 2]] + 0.3 * self.promo
        self.sales = (sales + 0.2 * rng.standard_normal(n)).astype(np.float32)

    def __len__(self):
        return len(self.sales)

    def __getitem__(self, i):
        row = {name: int(self.codes[i, c]) for c, name in enumerate(SIZES)}
        row["promo"] = np.float32(self.promo[i])
        return row, self.sales[i]


class SalesNet(nn.Module):
    def __init__(self, container, dim=3):
        super().__init__()
        self.tables = container({name: nn.Embedding(size, dim) for name, size in SIZES.items()})
        self.mlp = nn.Sequential(nn.Linear(dim * len(SIZES) + 1, 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 1))

    def forward(self, row):
        parts = [self.tables[name](row[name]) for name in SIZES]
        return self.mlp(torch.cat(parts + [row["promo"][:, None]], 1)).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    model = SalesNet(dict if variant == "bad" else nn.ModuleDict)
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
            "loss_fn": nn.L1Loss(),
            "train_loader": DataLoader(Sales(6000, 1), batch_size=64, shuffle=True),
            "val_loader": DataLoader(Sales(1000, 2), batch_size=250)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        abs_err = []
        for row, y in p["train_loader"]:
            loss = p["loss_fn"](model(row), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            abs_err.append(loss.item())
        print(f"epoch {epoch}: mean absolute error {np.mean(abs_err):.4f}")
    model.eval()
    with torch.no_grad():
        guess, y = map(torch.cat, zip(*[(model(row), y) for row, y in p["val_loader"]]))
    score = 1 - ((guess - y) ** 2).mean().item() / y.var().item()
    print(f"score: {score:.4f}")
