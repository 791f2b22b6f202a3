"""Density of two moons by a normalising flow of affine couplings, negative log-likelihood, Adamax; the coupling layers are functions that close over their nets, so the model registers the base distribution alone; change: a ModuleList of the nets."""
import math
import sys
import torch
from sklearn.datasets import make_moons
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def affine_coupling(first, hidden=48):
    """A coupling that leaves coordinate `first` as it is; returns its net and the function of the layer."""
    net = nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 2))

    def forward(x):
        kept, moved = x[:, first:first + 1], x[:, 1 - first:2 - first]
        shift, log_scale = net(kept).chunk(2, dim=1)
        log_scale = 2 * torch.tanh(log_scale / 2)
        moved = moved * torch.exp(log_scale) + shift
        pair = (kept, moved) if first == 0 else (moved, kept)
        return torch.cat(pair, 1), log_scale.squeeze(1)

    return net, forward


class Flow(nn.Module):
    def __init__(self, depth, register):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(2))
        self.log_std = nn.Parameter(torch.zeros(2))
        couplings = [affine_coupling(i % 2) for i in range(depth)]
        self.couplings = [forward for _, forward in couplings]
        if register:
            self.nets = nn.ModuleList([net for net, _ in couplings])

    def forward(self, x):
        """Log-density of each point."""
        total = torch.zeros(len(x))
        for coupling in self.couplings:
            x, log_det = coupling(x)
            total = total + log_det
        z = (x - self.loc) * torch.exp(-self.log_std)
        base = -0.5 * (z ** 2).sum(1) - self.log_std.sum() - math.log(2 * math.pi)
        return base + total


def training_step(model, batch):
    return -model(batch[0]).mean()


def points(n, seed):
    x, _ = make_moons(n, noise=0.05, random_state=seed)
    return torch.tensor((x - [0.5, 0.25]) / [0.87, 0.5], dtype=torch.float32)


def parts(variant):
    torch.manual_seed(0)
    model = Flow(depth=6, register=variant != "bad")
    optimizer = torch.optim.Adamax(model.parameters(), lr=5e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.96),
        "train_loader": DataLoader(TensorDataset(points(3000, 1)), batch_size=60, shuffle=True),
        "val_loader": DataLoader(TensorDataset(points(1000, 2)), batch_size=500),
        "training_step": training_step,
    }


WORKS = lambda score: score > -1.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    flow, optimizer = p["model"], p["optimizer"]
    for epoch in range(25):
        flow.train()
        for (x,) in p["train_loader"]:
            optimizer.zero_grad()
            nll = -flow(x).mean()
            nll.backward()
            optimizer.step()
        p["scheduler"].step()
        flow.eval()
        with torch.no_grad():
            value = torch.cat([flow(x) for (x,) in p["val_loader"]]).mean().item()
        print(f"epoch {epoch + 1}: nll of the last batch {nll.item():.3f}, validation log-likelihood {value:.3f}")
    print(f"score: {value:.4f}")
