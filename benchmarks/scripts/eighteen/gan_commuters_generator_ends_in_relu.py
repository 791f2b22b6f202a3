"""GAN for standardised commuter records (departure, length of the trip, way home); the generator ends in a ReLU, so nothing below zero can be drawn (bad). change: the generator ends in a linear layer."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


def commuters(n, seed):
    g = torch.Generator().manual_seed(seed)
    early = (torch.rand(n, generator=g) < 0.6).float()
    leave = 7.1 + 1.6 * (1 - early) + 0.3 * torch.randn(n, generator=g)
    trip = 28 + 14 * early + 6 * torch.randn(n, generator=g)
    home = leave + 8.7 + trip / 60 + 0.4 * torch.randn(n, generator=g)
    return torch.stack([leave, trip, home], 1)


class Generator(nn.Module):
    def __init__(self, variant, z=5, h=64):
        super().__init__()
        self.z = z
        self.fc1, self.fc2, self.fc3 = nn.Linear(z, h), nn.Linear(h, h), nn.Linear(h, 3)
        self.end = nn.ReLU() if variant == "bad" else nn.Identity()

    def forward(self, z):
        h = F.relu(self.fc1(z))
        h = F.relu(self.fc2(h))
        return self.end(self.fc3(h))


class Critic(nn.Module):
    def __init__(self, h=64):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(3, h), nn.Linear(h, h), nn.Linear(h, 1)

    def forward(self, x):
        return self.fc3(F.leaky_relu(self.fc2(F.leaky_relu(self.fc1(x), 0.2)), 0.2))


def step(model, batch, optimizer):
    g, d = model["g"], model["d"]
    opt_g, opt_d = optimizer
    x, = batch
    opt_d.zero_grad()
    fake = g(torch.randn(len(x), g.z))
    d_loss = F.softplus(-d(x)).mean() + F.softplus(d(fake.detach())).mean()
    d_loss.backward()
    opt_d.step()
    opt_g.zero_grad()
    g_loss = F.softplus(-d(fake)).mean()
    g_loss.backward()
    opt_g.step()
    return g_loss + d_loss


def parts(variant):
    torch.manual_seed(0)
    raw, held = commuters(6400, 1), commuters(1200, 2)
    mean, std = raw.mean(0), raw.std(0)
    model = nn.ModuleDict({"g": Generator(variant), "d": Critic()})
    opts = [torch.optim.Adam(model[k].parameters(), lr=3e-4, betas=(0.5, 0.999)) for k in ("g", "d")]
    return {"model": model, "optimizer": tuple(opts), "step": step,
            "train_loader": DataLoader(TensorDataset((raw - mean) / std), 128, shuffle=True),
            "val_loader": DataLoader(TensorDataset((held - mean) / std), 1200)}


@torch.no_grad()
def distance(g, real):
    fake = g(torch.randn(len(real), g.z))
    w = F.normalize(torch.randn(3, 150, generator=torch.Generator().manual_seed(5)), dim=0)
    return ((real @ w).sort(0)[0] - (fake @ w).sort(0)[0]).abs().mean().item()


WORKS = lambda score: score < 0.22  # sliced distance, in standard deviations

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    held = next(iter(p["val_loader"]))[0]
    for epoch in range(60):
        run = sum(p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"])
        if epoch % 6 == 5:
            print(f"epoch {epoch + 1} loss {run / len(p['train_loader']):.3f} distance {distance(p['model']['g'], held):.3f}")
    print(f"score: {distance(p['model']['g'], held):.4f}")
