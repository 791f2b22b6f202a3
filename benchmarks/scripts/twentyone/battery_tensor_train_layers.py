"""Regression of battery capacity from charging curves with layers whose weights are tensor trains; the mistake (bad): the cores are taken with .data when the full weight is put together, so the graph ends there; change: the cores themselves."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def charging_curves(n, seed):
    g = torch.Generator().manual_seed(seed)
    t = torch.linspace(0, 1, 64)
    knee = 0.3 + 0.5 * torch.rand(n, 1, generator=g)
    slope = 2 + 6 * torch.rand(n, 1, generator=g)
    drop = torch.rand(n, 1, generator=g)
    curve = torch.sigmoid(slope * (t - knee) * 3) - 0.4 * drop * torch.exp(-8 * t)
    capacity = 1.2 * torch.sin(5 * knee) * slope / 5 + drop ** 2 - 0.5 * knee * slope / 8
    x = curve + 0.01 * torch.randn(n, 64, generator=g)
    return x, (capacity + 0.02 * torch.randn(n, 1, generator=g))


class TTLinear(nn.Module):
    """64 -> 64 with the weight as a tensor train over (8x8) x (8x8)"""

    def __init__(self, rank=8, leave_graph=False):
        super().__init__()
        self.leave_graph = leave_graph
        self.cores = nn.ParameterList([
            nn.Parameter(torch.randn(8, 8, rank) * 0.25),
            nn.Parameter(torch.randn(rank, 8, 8) * 0.25)])
        self.bias = nn.Parameter(torch.zeros(64))

    def full(self):
        a, b = [c.data for c in self.cores] if self.leave_graph else self.cores
        return torch.einsum("ior,rjp->ijop", a, b).reshape(64, 64)

    def forward(self, x):
        return x @ self.full() + self.bias


class CapacityNet(nn.Module):
    def __init__(self, leave_graph):
        super().__init__()
        self.layers = nn.ModuleList([TTLinear(leave_graph=leave_graph) for _ in range(3)])

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i < 2:
                x = torch.tanh(x)
        return x.mean(1, keepdim=True)


def parts(variant):
    torch.manual_seed(0)
    x, y = charging_curves(2400, 1)
    mx, sx, my, sy = x[:2000].mean(0), x[:2000].std(0), y[:2000].mean(), y[:2000].std()
    x, y = (x - mx) / sx, (y - my) / sy
    model = CapacityNet(leave_graph=variant == "bad")
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-5),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(x[:2000], y[:2000]), batch_size=40, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[2000:], y[2000:]), batch_size=200),
    }


WORKS = lambda score: score > 0.8  # coefficient of determination

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, optim, mse = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(25):
        net.train()
        s = 0.0
        for xb, yb in p["train_loader"]:
            loss = mse(net(xb), yb)
            optim.zero_grad()
            loss.backward()
            optim.step()
            s += loss.item()
        if epoch % 4 == 0:
            print("epoch", epoch, "mse", round(s / len(p["train_loader"]), 4))
    net.eval()
    with torch.no_grad():
        res = torch.cat([net(xb) - yb for xb, yb in p["val_loader"]])
    truth = torch.cat([yb for _, yb in p["val_loader"]])
    score = 1 - (res.pow(2).mean() / truth.var()).item()
    print(f"score: {score:.4f}")
