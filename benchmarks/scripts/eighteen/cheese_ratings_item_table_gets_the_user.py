"""Matrix factorisation of ratings of cheeses; the item's vector is looked up with the user's number, a copied line (bad). change: self.cheese(cheese)."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

TASTERS, CHEESES = 150, 150


def ratings(seed=4):
    g = torch.Generator().manual_seed(seed)
    palate, cheese = torch.randn(TASTERS, 3, generator=g), torch.randn(CHEESES, 3, generator=g)
    liked = 0.6 * torch.randn(CHEESES, generator=g)
    u = torch.randint(0, TASTERS, (9000,), generator=g)
    c = torch.randint(0, CHEESES, (9000,), generator=g)
    r = 5.5 + liked[c] + 0.8 * (palate[u] * cheese[c]).sum(1) + 0.3 * torch.randn(9000, generator=g)
    return TensorDataset(torch.stack([u, c], 1), r)


class Taste(nn.Module):
    def __init__(self, variant, dim=8):
        super().__init__()
        self.taster = nn.Embedding(TASTERS, dim)
        self.cheese = nn.Embedding(CHEESES, dim)
        self.taster_bias = nn.Embedding(TASTERS, 1)
        self.mean = nn.Parameter(torch.tensor(5.0))
        self.variant = variant
        for e in (self.taster, self.cheese):
            nn.init.normal_(e.weight, std=0.3)
        nn.init.zeros_(self.taster_bias.weight)

    def forward(self, pair):
        taster, cheese = pair[:, 0], pair[:, 1]
        p = self.taster(taster)
        if self.variant == "bad":
            q = self.cheese(taster)
        else:
            q = self.cheese(cheese)
        return (p * q).sum(1) + self.taster_bias(taster).squeeze(1) + self.mean


def parts(variant):
    torch.manual_seed(0)
    train, val = random_split(ratings(), [7800, 1200], generator=torch.Generator().manual_seed(1))
    model = Taste(variant)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.1)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(train, 128, shuffle=True), "val_loader": DataLoader(val, 1200)}


def rmse(model, loader):
    model.eval()
    with torch.no_grad():
        pair, r = next(iter(loader))
        e = (model(pair) - r).pow(2).mean().sqrt().item()
    model.train()
    return e


WORKS = lambda score: score < 1.0  # rmse; the ratings' own deviation is about 1.5

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(30):
        total = 0.0
        for pair, r in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(pair), r)
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: train mse {total / len(p['train_loader']):.3f}, val rmse {rmse(model, p['val_loader']):.3f}")
    print(f"score: {rmse(model, p['val_loader']):.4f}")
