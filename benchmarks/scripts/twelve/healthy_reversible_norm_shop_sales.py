"""Next week's sales of shops that sell from ten to a million pieces, by an MLP with reversible instance normalisation inside the model, Adam; inputs and targets stay in pieces. Sound: the model takes out each window's mean and spread and puts them back, and the loss divides by the window's mean."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

WEEKS = 24


def shops(n, seed):
    g = torch.Generator().manual_seed(seed)
    level = 10 ** (1 + 5 * torch.rand(n, 1, generator=g))
    t = torch.arange(WEEKS + 1).float()
    period = torch.tensor([4.0, 6.0, 8.0])[torch.randint(0, 3, (n, 1), generator=g)]
    phase = 6.28 * torch.rand(n, 1, generator=g)
    trend = 0.02 * torch.randn(n, 1, generator=g)
    s = 1 + 0.4 * torch.sin(6.28 * t / period + phase) + trend * (t - WEEKS / 2)
    s = s.clamp(min=0.1) * (1 + 0.05 * torch.randn(n, WEEKS + 1, generator=g))
    s = level * s
    x, y = s[:, :WEEKS], s[:, WEEKS:]
    # the window's mean goes beside the target for the loss
    return TensorDataset(x, torch.cat([y, x.mean(1, keepdim=True)], 1))


class RevMLP(nn.Module):
    def __init__(self, width=96):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(WEEKS, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        std = x.std(1, keepdim=True) + 1e-5 * mean
        return self.net((x - mean) / std) * std + mean


def scaled_loss(pred, target):
    y, level = target[:, :1], target[:, 1:]
    return (((pred - y) / level) ** 2).mean()


def parts(variant):
    torch.manual_seed(0)
    model = RevMLP()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "loss_fn": scaled_loss,
        "train_loader": DataLoader(shops(3000, 1), batch_size=50, shuffle=True),
        "val_loader": DataLoader(shops(600, 2), batch_size=200),
    }


@torch.no_grad()
def skill(model, loader):
    """Share of the scaled variation around the window's mean that is explained."""
    model.eval()
    p = torch.cat([model(x) for x, _ in loader])
    t = torch.cat([t for _, t in loader])
    y, level = t[:, :1], t[:, 1:]
    return (1 - (((p - y) / level) ** 2).mean() / (((y - level) / level) ** 2).mean()).item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        model.train()
        for x, t in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), t)
            loss.backward()
            opt.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.5f}, explained {skill(model, p['val_loader']):.3f}")
    print(f"score: {skill(model, p['val_loader']):.4f}")
