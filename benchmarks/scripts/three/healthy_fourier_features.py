"""Healthy: frozen random Fourier features under a linear readout that starts at zero, plain SGD at lr=2 with momentum; nothing to change."""
import math
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def surface(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 3, generator=g) * 4 - 2
    y = torch.sin(2 * x[:, 0]) * x[:, 1] + 0.5 * torch.cos(3 * x[:, 2] + x[:, 0]) + 0.05 * torch.randn(n, generator=g)
    return x, y


class RandomFeatures(nn.Module):
    def __init__(self, d=3, width=800, scale=1.3):
        super().__init__()
        self.omega = nn.Parameter(torch.randn(d, width) * scale, requires_grad=False)
        self.register_buffer("phase", torch.rand(width) * 2 * math.pi)
        self.readout = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.readout.weight)

    def forward(self, x):
        f = torch.cos(x @ self.omega + self.phase) / math.sqrt(self.omega.shape[1])
        return self.readout(f).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    model = RandomFeatures()
    return {
        "model": model,
        "optimizer": torch.optim.SGD([q for q in model.parameters() if q.requires_grad], lr=2.0, momentum=0.9),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(*surface(3000, 1)), batch_size=100, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*surface(800, 2)), batch_size=400),
    }


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(50):
        total = 0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        with torch.no_grad():
            out = torch.cat([model(x) for x, _ in p["val_loader"]])
            y = torch.cat([t for _, t in p["val_loader"]])
            r2 = (1 - (out - y).pow(2).sum() / (y - y.mean()).pow(2).sum()).item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1} mse {total / len(p['train_loader']):.4f} R2 {r2:.4f}")
    print(f"score: {r2:.4f}")
