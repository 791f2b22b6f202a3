"""Healthy: power of a wind park with its own uncertainty, Gaussian NLL; the loss goes far below zero; NAdam."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def park(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 5, generator=g) * 2 - 1
    speed, heading, temp = x[:, 0], x[:, 1], x[:, 2]
    power = torch.sigmoid(4 * speed + 0.8 * torch.sin(3 * heading)) * (1 - 0.15 * temp) * 0.2
    spread = 0.003 + 0.012 * torch.sigmoid(5 * x[:, 3])
    return x, (power + spread * torch.randn(n, generator=g)).unsqueeze(1)


class MeanAndSpread(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 64), nn.Softplus(), nn.Linear(64, 64), nn.Softplus())
        self.mean, self.logvar = nn.Linear(64, 1), nn.Linear(64, 1)
        nn.init.constant_(self.logvar.bias, -4.0)

    def forward(self, x):
        h = self.body(x)
        return torch.cat([self.mean(h), self.logvar(h)], 1)


def nll(out, y):
    mean, logvar = out[:, :1], out[:, 1:].clamp(-14, 4)
    return 0.5 * (logvar + (y - mean) ** 2 * torch.exp(-logvar)).mean()


def parts(variant="fixed"):
    torch.manual_seed(0)
    net = MeanAndSpread()
    return {"model": net, "loss_fn": nll, "optimizer": torch.optim.NAdam(net.parameters(), lr=2e-3),
            "train_loader": DataLoader(TensorDataset(*park(3000, 1)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*park(600, 2)), batch_size=600)}


WORKS = lambda score: score > 0.9        # R2 of the mean


def r2(p):
    p["model"].eval()
    with torch.no_grad():
        x, y = next(iter(p["val_loader"]))
        return (1 - ((p["model"](x)[:, :1] - y) ** 2).mean() / y.var()).item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(30):
        p["model"].train()
        total = 0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1} nll {total / len(p['train_loader']):.3f} r2 {r2(p):.4f}")
    print(f"score: {r2(p):.4f}")
