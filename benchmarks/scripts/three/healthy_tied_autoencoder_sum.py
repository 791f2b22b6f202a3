"""Healthy: autoencoder with tied weights, squared error summed over the batch (a loss in the thousands) and a rate of 1e-5 with momentum; nothing to change."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

def load_digits(n=1797, seed=1797):
    """Small written digits, 8x8 with values 0 to 16: a 5x7 font, turned, stretched, shifted and blurred by hand."""
    font = ["0e11131519110e", "040c040404040e", "0e11010204081f", "1f02040201110e", "02060a121f0202", "1f101e0101110e", "0608101e11110e", "1f010204080808", "0e11110e11110e", "0e11110f01020c"]
    glyph = torch.tensor([[[int(f[2 * r:2 * r + 2], 16) >> (4 - c) & 1 for c in range(5)] for r in range(7)] for f in font], dtype=torch.float32)
    glyph = nn.functional.pad(glyph, (2, 1, 0, 1))
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 10, (n,), generator=g)
    a = 0.15 * torch.randn(n, generator=g)
    s = 1 + 0.12 * torch.randn(n, 2, generator=g)
    t = 0.1 * torch.randn(n, 2, generator=g)
    theta = torch.stack([torch.stack([a.cos() * s[:, 0], -a.sin(), t[:, 0]], 1), torch.stack([a.sin(), a.cos() * s[:, 1], t[:, 1]], 1)], 1)
    x = nn.functional.grid_sample(glyph[y].unsqueeze(1), nn.functional.affine_grid(theta, (n, 1, 8, 8), align_corners=False), align_corners=False)[:, 0]
    x = (x * (0.8 + 0.4 * torch.rand(n, 1, 1, generator=g)) + 0.06 * torch.randn(n, 8, 8, generator=g)).clamp(0, 1) * 16
    return x.round(), y


class Tied(nn.Module):
    def __init__(self, sizes=(64, 48, 12)):
        super().__init__()
        self.W = nn.ParameterList([nn.Parameter(nn.init.orthogonal_(torch.empty(o, i))) for i, o in zip(sizes, sizes[1:])])
        self.down = nn.ParameterList([nn.Parameter(torch.zeros(o)) for o in sizes[1:]])
        self.up = nn.ParameterList([nn.Parameter(torch.zeros(i)) for i in sizes[:-1]])

    def encode(self, x):
        for W, b in zip(self.W, self.down):
            x = F.leaky_relu(F.linear(x, W, b), 0.3)
        return x

    def forward(self, x):
        h = self.encode(x)
        for k in reversed(range(len(self.W))):
            h = F.linear(h, self.W[k].t(), self.up[k])
            if k:
                h = F.leaky_relu(h, 0.3)
        return h


def parts(variant):
    torch.manual_seed(0)
    x = load_digits()[0].flatten(1)
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(17))]
    x = (x - x[:1500].mean(0)) / 4
    net = Tied()
    return {
        "model": net,
        "optimizer": torch.optim.SGD(net.parameters(), lr=1e-5, momentum=0.95),
        "loss_fn": nn.MSELoss(reduction="sum"),
        "train_loader": DataLoader(TensorDataset(x[:1500], x[:1500]), batch_size=100, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[1500:], x[1500:]), batch_size=297),
    }


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(80):
        s = 0
        for x, target in p["train_loader"]:
            loss = p["loss_fn"](net(x), target)
            opt.zero_grad()
            loss.backward()
            opt.step()
            s += loss.item()
        with torch.no_grad():
            x, target = next(iter(p["val_loader"]))
            ev = (1 - (net(x) - target).pow(2).sum() / (target - target.mean(0)).pow(2).sum()).item()
        if epoch % 8 == 7:
            print(f"epoch {epoch + 1}: loss {s / len(p['train_loader']):.1f}, explained {ev:.4f}")
    print(f"score: {ev:.4f}")
