"""Sales of products in stores: the ids (up to 800) go into a linear layer as numbers; change: `fixed` looks them up in embeddings."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

STORES, PRODUCTS = 120, 800
WORKS = lambda score: score > 0.6


def table(n=16000, seed=0):
    g = torch.Generator().manual_seed(seed)
    store, product = torch.randint(0, STORES, (n,), generator=g), torch.randint(0, PRODUCTS, (n,), generator=g)
    price = torch.rand(n, generator=g)
    s_eff, p_eff = 0.7 * torch.randn(STORES, generator=g), torch.randn(PRODUCTS, generator=g)
    y = s_eff[store] + p_eff[product] - 1.5 * price + 0.3 * torch.randn(n, generator=g)
    y = (y - y.mean()) / y.std()
    return torch.stack([store.float(), product.float(), price], 1), y.unsqueeze(1)


class Sales(nn.Module):
    def __init__(self, variant):
        super().__init__()
        self.store, self.product = (nn.Embedding(STORES, 8), nn.Embedding(PRODUCTS, 8)) if variant == "fixed" else (None, None)
        self.mlp = nn.Sequential(nn.Linear(17 if variant == "fixed" else 3, 64), nn.ReLU(), nn.Dropout(0.05), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x):
        if self.store is not None:
            x = torch.cat([self.store(x[:, 0].long()), self.product(x[:, 1].long()), x[:, 2:]], 1)
        return self.mlp(x)


def parts(variant):
    torch.manual_seed(0)
    x, y = table()
    model = Sales(variant)
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3), "loss_fn": nn.L1Loss(),
            "train_loader": DataLoader(TensorDataset(x[:14000], y[:14000]), batch_size=128, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[14000:], y[14000:]), batch_size=1000)}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(20):
        model.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            out = torch.cat([model(x) for x, _ in p["val_loader"]])
            true = torch.cat([y for _, y in p["val_loader"]])
            r2 = 1 - F.mse_loss(out, true).item() / true.var().item()
        print(f"Epoch {epoch + 1:02d} | MAE {(out - true).abs().mean():.3f} | R2 {r2:.3f}")
    print(f"score: {r2:.4f}")
