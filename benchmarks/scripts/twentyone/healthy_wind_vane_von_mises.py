"""A network gives the mean direction and the concentration of a von Mises distribution for tomorrow's wind; the negative log-likelihood falls below zero; NAdam."""
import sys
import math
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def station(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 6, generator=g) * 2 - 1
    direction = 2.5 * x[:, 0] + 1.5 * torch.sin(3 * x[:, 1]) + x[:, 2] * x[:, 3]
    spread = 0.06 + 0.14 * torch.sigmoid(4 * x[:, 4])
    y = direction + spread * torch.randn(n, generator=g)
    return x, torch.remainder(y + math.pi, 2 * math.pi) - math.pi


class Vane(nn.Module):
    def __init__(self, width=96):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, width), nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.axis = nn.Linear(width, 2)
        self.log_kappa = nn.Linear(width, 1)

    def forward(self, x):
        h = self.trunk(x)
        axis = self.axis(h)
        angle = torch.atan2(axis[:, 1], axis[:, 0])
        return torch.stack([angle, self.log_kappa(h).squeeze(1)], dim=1)


def von_mises_nll(output, target):
    angle, log_kappa = output.unbind(1)
    kappa = log_kappa.clamp(-5, 7).exp()
    # log I0(k) = log i0e(k) + k
    log_norm = math.log(2 * math.pi) + torch.special.i0e(kappa).log() + kappa
    return (log_norm - kappa * torch.cos(target - angle)).mean()


def mean_angle_error(output, target):
    d = torch.remainder(output[:, 0] - target + math.pi, 2 * math.pi) - math.pi
    return d.abs().mean().item()


def parts(variant):
    torch.manual_seed(0)
    model = Vane()
    return {
        "model": model,
        "optimizer": torch.optim.NAdam(model.parameters(), lr=1e-3),
        "loss_fn": von_mises_nll,
        "train_loader": DataLoader(TensorDataset(*station(6000, 10)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*station(1000, 11)), batch_size=1000),
    }


WORKS = lambda score: score < 0.2

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(40):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            out = model(x)
            score = mean_angle_error(out, y)
            val = p["loss_fn"](out, y).item()
        print(f"epoch {epoch:2d} train {total / len(p['train_loader']):.3f} val {val:.3f} error {score:.3f} rad")
    print(f"score: {score:.4f}")
