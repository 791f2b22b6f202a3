"""Matrix factorisation of ratings whose user and item tables are kept in a plain dict, so only the biases are trained; change: `fixed` keeps them in an nn.ModuleDict."""
import argparse
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

USERS, ITEMS, RANK = 250, 150, 4
WORKS = lambda score: score > 0.6


def ratings(seed=0, n=15000):
    g = torch.Generator().manual_seed(seed)
    u, v = torch.randn(USERS, RANK, generator=g), torch.randn(ITEMS, RANK, generator=g)
    bu, bv = 0.3 * torch.randn(USERS, generator=g), 0.5 * torch.randn(ITEMS, generator=g)
    i, j = torch.randint(0, USERS, (n,), generator=g), torch.randint(0, ITEMS, (n,), generator=g)
    r = 3 + bu[i] + bv[j] + 0.6 * (u[i] * v[j]).sum(1) + 0.3 * torch.randn(n, generator=g)
    return torch.stack([i, j], 1), r


class MF(nn.Module):
    def __init__(self, variant, dim=8):
        super().__init__()
        tables = {"user": nn.Embedding(USERS, dim), "item": nn.Embedding(ITEMS, dim)}
        for table in tables.values():
            nn.init.normal_(table.weight, std=0.1)
        self.tables = nn.ModuleDict(tables) if variant == "fixed" else tables
        self.user_bias = nn.Embedding(USERS, 1)
        self.item_bias = nn.Embedding(ITEMS, 1)
        self.mean = nn.Parameter(torch.zeros(1))

    def forward(self, pair):
        u, i = pair[:, 0], pair[:, 1]
        dot = (self.tables["user"](u) * self.tables["item"](i)).sum(1)
        return dot + self.user_bias(u).squeeze(1) + self.item_bias(i).squeeze(1) + self.mean


def parts(variant):
    torch.manual_seed(0)
    x, r = ratings()
    train = DataLoader(TensorDataset(x[:12000], r[:12000]), batch_size=256, shuffle=True)
    test = DataLoader(TensorDataset(x[12000:], r[12000:]), batch_size=1000)
    model = MF(variant)
    opt = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-5)
    return {"model": model, "optimizer": opt, "train_loader": train, "val_loader": test, "loss_fn": nn.MSELoss()}


@torch.no_grad()
def explained(model, loader):
    pred = torch.cat([model(x) for x, _ in loader])
    true = torch.cat([r for _, r in loader])
    return (1 - (pred - true).pow(2).mean() / true.var()).item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=60)
    args = ap.parse_args()
    p = parts(args.variant)
    for epoch in range(args.epochs):
        total = 0.0
        for x, r in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), r)
            loss.backward()
            p["optimizer"].step()
            total += loss.item() / len(p["train_loader"])
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1:3d}  mse {total:.3f}  test R2 {explained(p['model'], p['val_loader']):.3f}")
    print(f"score: {explained(p['model'], p['val_loader']):.4f}")
