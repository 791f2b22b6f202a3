"""Mixture of experts on a piecewise table; the gate's softmax runs over dim=0 (the batch) in place of the experts, so an example's output depends on its neighbours and on the batch size; the right change: softmax(dim=-1)."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class Expert(nn.Module):
    def __init__(self, d, h=16):
        super().__init__()
        self.f = nn.Sequential(nn.Linear(d, h), nn.ReLU(), nn.Linear(h, 1))

    def forward(self, x):
        return self.f(x)


class MoE(nn.Module):
    def __init__(self, d=5, n_experts=4, dim=-1):
        super().__init__()
        self.experts = nn.ModuleList(Expert(d) for _ in range(n_experts))
        self.gate = nn.Sequential(nn.Linear(d, 16), nn.ReLU(), nn.Linear(16, n_experts))
        self.dim = dim

    def forward(self, x):
        w = torch.softmax(self.gate(x), dim=self.dim)
        y = torch.cat([e(x) for e in self.experts], dim=1)
        return (w * y).sum(dim=1, keepdim=True)


def regimes(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 5, generator=g)
    hot, wet = x[:, 0] > 0, x[:, 1] > 0
    y = torch.where(hot, torch.where(wet, 2 * x[:, 2], x[:, 3] - 1), torch.where(wet, -x[:, 2] + 1, x[:, 4] * x[:, 2]))
    return TensorDataset(x, y[:, None] + 0.1 * torch.randn(n, 1, generator=g))


def parts(variant):
    torch.manual_seed(4)
    model = MoE(dim=0 if variant == "bad" else -1)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(regimes(3000, 1), batch_size=32, shuffle=True),
            "val_loader": DataLoader(regimes(1000, 2), batch_size=1000)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    m = p["model"]
    for epoch in range(25):
        m.train()
        tot = 0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](m(x), y)
            loss.backward()
            p["optimizer"].step()
            tot += loss.item()
        if epoch % 5 == 4: print(epoch + 1, "train mse", tot / len(p["train_loader"]))
    m.eval()
    x, y = next(iter(p["val_loader"]))
    with torch.no_grad():
        print("score:", 1 - ((m(x) - y) ** 2).mean().item() / y.var().item())
