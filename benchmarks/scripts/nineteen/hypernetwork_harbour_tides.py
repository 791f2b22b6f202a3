"""A hypernetwork makes the weights of a small harbour-specific net that gives the tide from the time; bad: the generated weights are written to layer.weight.data, so no gradient reaches the hypernetwork; change: F.linear with the generated weights."""
import sys
import math
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def tide_tables(n, seed):
    g = torch.Generator().manual_seed(seed)
    harbour = torch.rand(n, 4, generator=g) * 2 - 1
    hours = torch.rand(n, 24, generator=g) * 24
    high = 1.5 + harbour[:, :1]
    lag = 2 * harbour[:, 1:2]
    mean = harbour[:, 2:3] * harbour[:, 3:4]
    level = mean + high * torch.sin(2 * math.pi * hours / 12.4 + lag)
    return torch.cat([harbour, hours], 1), level + 0.05 * torch.randn(n, 24, generator=g)


class TideHyperNet(nn.Module):
    def __init__(self, n_basis=4):
        super().__init__()
        self.hyper = nn.Sequential(nn.Linear(4, 48), nn.Tanh(), nn.Linear(48, n_basis))
        self.main = nn.Linear(n_basis, 1)

    def basis(self, hours):
        w = 2 * math.pi * hours / 12.4
        return torch.stack([torch.sin(w), torch.cos(w), torch.sin(2 * w), torch.cos(2 * w)], -1)

    def forward(self, x):
        weights = self.hyper(x[:, :4])
        phi = self.basis(x[:, 4:])
        out = []
        for w, rows in zip(weights, phi):
            out.append(self.apply_main(w, rows))
        return torch.stack(out)

    def apply_main(self, w, rows):
        return F.linear(rows, w.unsqueeze(0), self.main.bias).squeeze(-1)


class TideHyperNetAssign(TideHyperNet):
    def apply_main(self, w, rows):
        self.main.weight.data = w.unsqueeze(0).data
        return self.main(rows).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    model = TideHyperNetAssign() if variant == "bad" else TideHyperNet()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-2), loss_fn=nn.MSELoss(),
                train_loader=DataLoader(TensorDataset(*tide_tables(800, 1)), batch_size=40, shuffle=True),
                val_loader=DataLoader(TensorDataset(*tide_tables(200, 2)), batch_size=100))


# R2 for harbours that were not in the training data
WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(20):
        epoch_loss = 0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            epoch_loss += loss.item() / len(p["train_loader"])
        print("epoch", epoch, "loss", round(epoch_loss, 4))
    with torch.no_grad():
        res = torch.cat([(model(x) - y).flatten() for x, y in p["val_loader"]])
        level = torch.cat([y.flatten() for _, y in p["val_loader"]])
    score = (1 - res.pow(2).mean() / level.var()).item()
    print(f"score: {score:.4f}")
