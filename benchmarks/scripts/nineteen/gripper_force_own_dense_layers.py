"""Force of a gripper from joint readings with hand-written dense layers; bad: the weights are torch.randn without scale, so a deep tanh net of width 256 saturates everywhere; change: randn / sqrt(n_in)."""
import sys
import math
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def readings(n, seed):
    g = torch.Generator().manual_seed(seed)
    q = torch.rand(n, 8, generator=g) * 2 - 1
    lever = torch.cos(1.5 * q[:, 0] + q[:, 1]) + 0.5 * torch.sin(2 * q[:, 2])
    force = lever * (1 + 0.5 * q[:, 3]) + 0.6 * q[:, 4] * q[:, 5] - 0.4 * q[:, 6]
    return q, (force + 0.05 * torch.randn(n, generator=g)).unsqueeze(1)


class Dense(nn.Module):
    def __init__(self, n_in, n_out, scale):
        super().__init__()
        self.w = nn.Parameter(torch.randn(n_in, n_out) * scale)
        self.b = nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        return x @ self.w + self.b


class ForceNet(nn.Module):
    def __init__(self, scaled, width=256, depth=5):
        super().__init__()
        sizes = [8] + [width] * depth + [1]
        self.layers = nn.ModuleList()
        for a, b in zip(sizes[:-1], sizes[1:]):
            self.layers.append(Dense(a, b, 1 / math.sqrt(a) if scaled else 1.0))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = torch.tanh(layer(x))
        return self.layers[-1](x)


def parts(variant):
    torch.manual_seed(0)
    model = ForceNet(scaled=variant != "bad")
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=5e-4), loss_fn=nn.MSELoss(),
                train_loader=DataLoader(TensorDataset(*readings(2000, 1)), batch_size=50, shuffle=True),
                val_loader=DataLoader(TensorDataset(*readings(500, 2)), batch_size=250))


# R2 on validation
WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(20):
        s = 0.0
        for q, f in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(q), f)
            loss.backward()
            optimizer.step()
            s += loss.item()
        print(f"epoch {epoch + 1:2d} | mse {s / len(p['train_loader']):.4f}")
    err, all_f = [], []
    with torch.no_grad():
        for q, f in p["val_loader"]:
            err.append((model(q) - f) ** 2)
            all_f.append(f)
    score = 1 - torch.cat(err).mean() / torch.cat(all_f).var()
    print(f"score: {score:.4f}")
