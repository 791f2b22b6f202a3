"""Non-saturating GAN on a crescent with the R1 penalty applied only every fourth step and then four times as strong, averaged generator for sampling, all inside one step; sound. change: nothing."""
import sys
import copy
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

EVERY, GAMMA = 4, 0.3


def crescent(n, seed):
    g = torch.Generator().manual_seed(seed)
    a = torch.rand(n, generator=g) * torch.pi
    r = 1.5 + 0.1 * torch.randn(n, generator=g)
    return torch.stack([r * a.cos(), r * a.sin() - 0.75], 1)


class Gan(nn.Module):
    def __init__(self):
        super().__init__()
        self.G = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
        self.D = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
        self.G_ema = copy.deepcopy(self.G).requires_grad_(False)
        self.register_buffer("t", torch.zeros((), dtype=torch.long))

    def forward(self, z):
        return self.G_ema(z)


def step(model, batch, optimizer):
    (real,) = batch
    z = torch.randn(len(real), 4)

    with torch.no_grad():
        fake = model.G(z)
    real = real.requires_grad_(model.t.item() % EVERY == 0)
    out = model.D(real)
    d_loss = F.softplus(-out).mean() + F.softplus(model.D(fake)).mean()
    total = d_loss
    if real.requires_grad:
        grad, = torch.autograd.grad(out.sum(), real, create_graph=True)
        total = total + EVERY * GAMMA / 2 * grad.square().sum(1).mean()
    optimizer.zero_grad()
    total.backward()

    model.D.requires_grad_(False)
    g_loss = F.softplus(-model.D(model.G(z))).mean()
    g_loss.backward()
    model.D.requires_grad_(True)
    optimizer.step()
    with torch.no_grad():
        for a, b in zip(model.G_ema.parameters(), model.G.parameters()):
            a.lerp_(b, 0.01)
        model.t += 1
    return (d_loss + g_loss).detach()


def parts(variant):
    torch.manual_seed(0)
    model = Gan()
    opt = torch.optim.Adam(list(model.G.parameters()) + list(model.D.parameters()), lr=1e-3, betas=(0.0, 0.99))
    return dict(model=model, optimizer=opt, step=step,
                train_loader=DataLoader(TensorDataset(crescent(6400, 1)), 128, shuffle=True),
                val_loader=DataLoader(TensorDataset(crescent(1000, 2)), 1000))


WORKS = lambda score: score < 0.05  # energy distance of 1000 samples to held-out points

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(40):
        losses = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        if epoch % 6 == 0:
            print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f}")
    (real,), = p["val_loader"]
    with torch.no_grad():
        fake = p["model"](torch.randn(1000, 4))
    score = (2 * torch.cdist(real, fake).mean() - torch.cdist(real, real).mean() - torch.cdist(fake, fake).mean()).item()
    print(f"score: {score:.4f}")
