"""Table classifier of comets with an output for each of 1000 catalogue families of which only 25 occur in the data; the loss starts at ln 1000; sound."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

FAMILIES = 1000


def orbits(n, seed):
    rng = np.random.default_rng(100)
    codes = np.sort(rng.choice(FAMILIES, 25, replace=False))
    centre = rng.normal(0, 1.5, (25, 6))
    rng = np.random.default_rng(seed)
    k = rng.integers(0, 25, n)
    X = centre[k] + rng.normal(0, 0.5, (n, 6))
    return TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(codes[k]))


class CometNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(6, 128)
        self.res = nn.ModuleList([nn.Linear(128, 128) for _ in range(3)])
        self.families = nn.Linear(128, FAMILIES)

    def forward(self, x):
        x = torch.relu(self.inp(x))
        for lin in self.res:
            x = x + torch.relu(lin(x))
        return self.families(x)


def parts(variant):
    torch.manual_seed(0)
    model = CometNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(orbits(2500, 1), batch_size=50, shuffle=True),
            "val_loader": DataLoader(orbits(500, 2), batch_size=100)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        losses = []
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch} loss {np.mean(losses):.4f} (first batch {losses[0]:.4f})")
    with torch.no_grad():
        acc = np.mean([(model(x).argmax(1) == y).float().mean().item() for x, y in p["val_loader"]])
    print(f"score: {acc:.4f}")
