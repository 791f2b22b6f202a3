"""Sound: nine quantiles of wind power at once; outputs (B, 9) and targets (B, 1) differ in shape on purpose, the pinball loss broadcasts the target over the quantiles."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

LEVELS = torch.linspace(0.1, 0.9, 9)


def park(n, seed):
    g = torch.Generator().manual_seed(seed)
    speed = 12 * torch.rand(n, 1, generator=g)
    angle = 6.283 * torch.rand(n, 1, generator=g)
    gusts = torch.rand(n, 1, generator=g)
    mean = 8.0 * torch.sigmoid(speed - 6) * (1 + 0.25 * torch.cos(angle))
    power = mean + (0.15 + 1.2 * gusts) * torch.randn(n, 1, generator=g)
    return torch.cat([(speed - 6) / 3.46, angle.sin(), angle.cos(), (gusts - 0.5) / 0.29], 1), power / 4


class QuantileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU())
        self.median, self.gaps = nn.Linear(64, 1), nn.Linear(64, 8)

    def forward(self, x):
        h = self.body(x)
        gaps = nn.functional.softplus(self.gaps(h))
        below = -gaps[:, :4].flip(1).cumsum(1).flip(1)
        return self.median(h) + torch.cat([below, torch.zeros_like(below[:, :1]), gaps[:, 4:].cumsum(1)], 1)


def pinball(q, y):
    error = y - q                                  # (B, 1) - (B, 9)
    return torch.maximum(LEVELS * error, (LEVELS - 1) * error).sum(1).mean()


def parts(variant="fixed"):
    torch.manual_seed(0)
    net = QuantileNet()
    return {
        "model": net,
        "optimizer": torch.optim.Adam(net.parameters(), lr=2e-3),
        "loss_fn": pinball,
        "train_loader": DataLoader(TensorDataset(*park(4000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*park(1000, 2)), batch_size=500),
    }


@torch.no_grad()
def skill(net, loader):
    """Pinball loss against the quantiles of all powers."""
    net.eval()
    q, y = torch.cat([net(x) for x, _ in loader]), torch.cat([y for _, y in loader])
    climate = torch.quantile(y, LEVELS)[None].expand(len(y), -1)
    return (1 - pinball(q, y) / pinball(climate, y)).item()


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(12):
        p["model"].train()
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
        print(f"epoch {epoch}: pinball {loss.item():.4f}, skill {skill(p['model'], p['val_loader']):.3f}")
    print(f"score: {skill(p['model'], p['val_loader']):.4f}")
