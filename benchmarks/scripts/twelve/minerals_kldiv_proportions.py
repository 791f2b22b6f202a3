"""Proportions of six minerals from a mixed spectrum by a 1-d CNN, NAdam, with KLDivLoss; the net ends in Softmax where that loss takes logarithms of probabilities, so that all mass goes to the commonest mineral; change: LogSoftmax."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

BANDS, MINERALS = 64, 6


def library():
    g = torch.Generator().manual_seed(42)
    grid = torch.linspace(0, 1, BANDS)
    centres = torch.rand(MINERALS, 4, generator=g)
    widths = 0.03 + 0.06 * torch.rand(MINERALS, 4, generator=g)
    return torch.exp(-0.5 * ((grid - centres[..., None]) / widths[..., None]) ** 2).sum(1)


def mixtures(n, seed):
    g = torch.Generator().manual_seed(seed)
    share = -torch.log(torch.rand(n, MINERALS, generator=g))
    share = share / share.sum(1, keepdim=True)
    gain = 0.8 + 0.4 * torch.rand(n, 1, generator=g)
    x = gain * (share @ library()) ** 1.2 + 0.02 * torch.randn(n, BANDS, generator=g)
    return x, share


class Unmixer(nn.Module):
    def __init__(self, final):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv1d(1, 24, 7, padding=3), nn.BatchNorm1d(24), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(24, 32, 5, padding=2), nn.BatchNorm1d(32), nn.ReLU(), nn.MaxPool1d(2))
        self.fc = nn.Sequential(nn.Flatten(), nn.Linear(32 * BANDS // 4, 96), nn.ReLU(), nn.Linear(96, MINERALS))
        self.final = final

    def forward(self, x):
        return self.final(self.fc(self.conv(x)))


def parts(variant):
    torch.manual_seed(0)
    x, y = mixtures(3000, 1)
    xv, yv = mixtures(600, 2)
    mean, std = x.mean(), x.std()
    x, xv = ((t - mean) / std for t in (x, xv))
    model = Unmixer(nn.Softmax(dim=1) if variant == "bad" else nn.LogSoftmax(dim=1))
    return {
        "model": model,
        "optimizer": torch.optim.NAdam(model.parameters(), lr=1e-3),
        "loss_fn": nn.KLDivLoss(reduction="batchmean"),
        "train_loader": DataLoader(TensorDataset(x[:, None], y), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(xv[:, None], yv), batch_size=200),
    }


@torch.no_grad()
def explained(model, loader):
    """R2 of the proportions."""
    model.eval()
    out = torch.cat([model(x) for x, _ in loader])
    y = torch.cat([y for _, y in loader])
    share = out if isinstance(model.final, nn.Softmax) else out.exp()
    return (1 - (share - y).pow(2).mean() / y.var()).item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt, kl = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(1, 16):
        net.train()
        for spectra, shares in p["train_loader"]:
            opt.zero_grad()
            loss = kl(net(spectra), shares)
            loss.backward()
            opt.step()
        print(f"epoch {epoch:2d}  loss {loss.item():.4f}  R2 {explained(net, p['val_loader']):.3f}")
    print(f"score: {explained(net, p['val_loader']):.4f}")
