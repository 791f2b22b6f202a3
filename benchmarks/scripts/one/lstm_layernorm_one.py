"""LSTM that predicts the remaining life of a battery from one sensor; LayerNorm over the last dimension, which has one feature, turns every input into its bias, so the net sees a constant; the right change: normalise by the training set's mean and std (no LayerNorm there)."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def discharge(n, seed, T=30):
    g = torch.Generator().manual_seed(seed)
    rate = torch.rand(n, 1, generator=g) * 0.04 + 0.01
    v0 = 3.9 + 0.2 * torch.rand(n, 1, generator=g)
    t = torch.arange(T).float()
    v = v0 - rate * t - 0.0004 * t ** 2 * rate * 20 + 0.01 * torch.randn(n, T, generator=g)
    life = (v[:, -1:] - 2.5) / rate
    return v.unsqueeze(-1), (life - 60) / 40


class RULNet(nn.Module):
    def __init__(self, n_features=1, hidden=32, norm=True):
        super().__init__()
        self.norm = nn.LayerNorm(n_features) if norm else None
        self.lstm = nn.LSTM(n_features, hidden, num_layers=1, batch_first=True)
        self.head = nn.Sequential(nn.Linear(hidden, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x):
        if self.norm is not None:
            x = self.norm(x)
        else:
            x = (x - 3.4) / 0.5
        _, (h, _) = self.lstm(x)
        return self.head(h[-1])


def parts(variant):
    torch.manual_seed(0)
    model = RULNet(norm=variant == "bad")
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "loss_fn": nn.SmoothL1Loss(),
            "train_loader": DataLoader(TensorDataset(*discharge(2000, 1)), 64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*discharge(400, 2)), 400)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(15):
        total = 0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f}")
    x, y = next(iter(p["val_loader"]))
    with torch.no_grad():
        print("score:", 1 - ((model(x) - y) ** 2).mean().item() / y.var().item())
