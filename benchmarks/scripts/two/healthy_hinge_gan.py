"""Healthy: hinge GAN on a 2-D spiral, discriminator at four times the generator's rate, two D steps per G step; losses rise and oscillate by nature; nothing to change."""
import sys, math, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

def spiral(n, seed):
    g = torch.Generator().manual_seed(seed)
    a = 3 * math.pi * torch.rand(n, generator=g).sqrt()
    return torch.stack([a.cos(), a.sin()], 1) * a[:, None] / 5 + 0.05 * torch.randn(n, 2, generator=g)

class G(nn.Sequential):
    def __init__(self): super().__init__(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
class D(nn.Sequential):
    def __init__(self):
        sn = nn.utils.parametrizations.spectral_norm
        super().__init__(sn(nn.Linear(2, 64)), nn.LeakyReLU(0.1), sn(nn.Linear(64, 64)), nn.LeakyReLU(0.1), nn.Linear(64, 1))

def step(model, optimizer, batch):
    x, = batch
    for part in x.chunk(2):
        fake = model["G"](torch.randn(len(part), 3)).detach()
        d = torch.relu(1 - model["D"](part)).mean() + torch.relu(1 + model["D"](fake)).mean()
        optimizer["D"].zero_grad(); d.backward(); optimizer["D"].step()
    g = -model["D"](model["G"](torch.randn(len(x), 3))).mean()
    optimizer["G"].zero_grad(); g.backward(); optimizer["G"].step()
    return d.detach() + g.detach()

def parts(variant="fixed"):
    torch.manual_seed(0)
    m = {"G": G(), "D": D()}
    o = {"G": torch.optim.Adam(m["G"].parameters(), 5e-4, betas=(0.0, 0.9)), "D": torch.optim.Adam(m["D"].parameters(), 2e-3, betas=(0.0, 0.9))}
    return dict(model=m, optimizer=o, step=step, train_loader=DataLoader(TensorDataset(spiral(6000, 0)), 128, shuffle=True, drop_last=True),
                val_loader=DataLoader(TensorDataset(spiral(1000, 1)), 500))

WORKS = lambda score: score < 0.3     # mean distance to the nearest sample, both ways

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for ep in range(40):
        for b in p["train_loader"]: loss = step(p["model"], p["optimizer"], b)
        if ep % 8 == 7: print(ep + 1, loss.item())
    with torch.no_grad():
        d = torch.cdist(p["model"]["G"](torch.randn(1000, 3)), spiral(1000, 1))
    print("score:", 0.5 * (d.min(0).values.mean() + d.min(1).values.mean()).item())
