"""Smoother of recorded tracks: the true position of each moment from the noisy fixes before and after it, by a dilated CNN with padding on both sides, NAdam. Sound: outputs depend on later inputs, as they may, since whole recordings are smoothed afterwards; the net predicts the correction, from a last layer set to zero."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

LENGTH = 48


def tracks(n, seed):
    g = torch.Generator().manual_seed(seed)
    acc = torch.randn(n, 2, LENGTH, generator=g) * 0.15
    vel = acc.cumsum(2) * 0.6
    vel = vel + 0.3 * torch.randn(n, 2, 1, generator=g)
    pos = vel.cumsum(2) * 0.3
    pos = pos - pos.mean(2, keepdim=True)
    fixes = pos + 0.5 * torch.randn(pos.shape, generator=g)
    return fixes, pos


class Smoother(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        layers, c = [], 2
        for d in (1, 2, 4):
            layers += [nn.Conv1d(c, width, 5, dilation=d, padding=2 * d), nn.SiLU()]
            c = width
        self.body = nn.Sequential(*layers)
        self.out = nn.Conv1d(width, 2, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x):
        return x + self.out(self.body(x))


def parts(variant):
    torch.manual_seed(0)
    x, y = tracks(1200, 1)
    xv, yv = tracks(300, 2)
    s = x.std()
    model = Smoother()
    return {
        "model": model,
        "optimizer": torch.optim.NAdam(model.parameters(), lr=2e-3),
        "loss_fn": nn.L1Loss(),
        "train_loader": DataLoader(TensorDataset(x / s, y / s), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(xv / s, yv / s), batch_size=100),
    }


@torch.no_grad()
def removed(model, loader):
    """Share of the fixes' squared error that is gone."""
    model.eval()
    before = after = 0.0
    for x, y in loader:
        before += (x - y).pow(2).sum().item()
        after += (model(x) - y).pow(2).sum().item()
    return 1 - after / before


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, error removed {removed(model, p['val_loader']):.3f}")
    print(f"score: {removed(model, p['val_loader']):.4f}")
