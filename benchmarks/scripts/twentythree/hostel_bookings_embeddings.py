"""Price model of hostel bookings with an embedding for each categorical column. The embeddings stand in a plain Python list, so model.parameters() does not hold them and they stay at their random start; the right change: nn.ModuleList."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
CARDINALITIES = [60, 50, 40]      # hostel, agent, country


def bookings(n, seed):
    effects = np.random.default_rng(11)
    tables = [effects.normal(0, 1, c) for c in CARDINALITIES]
    rng = np.random.default_rng(seed)
    cat = np.stack([rng.integers(0, c, n) for c in CARDINALITIES], 1)
    num = rng.normal(size=(n, 2))         # nights, guests
    price = sum(t[cat[:, i]] for i, t in enumerate(tables)) + 0.5 * num[:, 0] - 0.3 * num[:, 1] ** 2
    price = price / 2 + rng.normal(0, 0.15, n)
    x = np.concatenate([cat, num], 1)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(price, dtype=torch.float32)


class BookingModel(nn.Module):
    def __init__(self, container, dim=2):
        super().__init__()
        self.embeddings = container([nn.Embedding(c, dim) for c in CARDINALITIES])
        n_in = dim * len(CARDINALITIES) + 2
        self.mlp = nn.Sequential(nn.Linear(n_in, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        cat, num = x[:, :3].long(), x[:, 3:]
        e = [emb(cat[:, i]) for i, emb in enumerate(self.embeddings)]
        return self.mlp(torch.cat(e + [num], 1)).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    model = BookingModel(list if variant == "bad" else nn.ModuleList)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(*bookings(3000, 0)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*bookings(600, 1)), batch_size=300)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(15):
        model.train()
        for x, price in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), price)
            loss.backward()
            p["optimizer"].step()
        model.eval()
        with torch.no_grad():
            both = [(model(x), price) for x, price in p["val_loader"]]
        pred, true = torch.cat([a for a, _ in both]), torch.cat([b for _, b in both])
        r2 = (1 - ((pred - true) ** 2).mean() / true.var(unbiased=False)).item()
        print(f"epoch {epoch}: last batch loss {loss.item():.4f}, R2 {r2:.3f}")
    print("score:", r2)
