"""Healthy: a tiny radiance field of a flat world: rays from cameras on a circle, jittered samples, frequencies as positional encoding, softplus densities, sigmoid colours and alpha compositing; an expected colour per ray, loss squared. change: nothing, it is sound."""
import math
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

NEAR, FAR, N_SAMPLES, N_PIXELS = 0.5, 3.5, 32, 48
DISCS = [((0.3, 0.2), 0.35, (0.9, 0.2, 0.1)), ((-0.5, 0.1), 0.25, (0.1, 0.8, 0.2)), ((0.0, -0.5), 0.3, (0.2, 0.3, 0.9))]


def get_rays(angle):
    angle = torch.as_tensor(angle)
    origin = 2.0 * torch.stack([angle.cos(), angle.sin()])
    offsets = torch.linspace(-0.45, 0.45, N_PIXELS)
    heading = angle + math.pi + offsets
    return origin.expand(N_PIXELS, 2), torch.stack([heading.cos(), heading.sin()], 1)


def shoot(origins, directions):
    colour = torch.zeros(len(origins), 3)
    nearest = torch.full((len(origins),), float("inf"))
    for centre, radius, rgb in DISCS:
        oc = origins - torch.tensor(centre)
        b = (oc * directions).sum(1)
        disc = b ** 2 - (oc.pow(2).sum(1) - radius ** 2)
        t = -b - disc.clamp(min=0).sqrt()
        hit = (disc > 0) & (t < nearest)
        colour[hit] = torch.tensor(rgb)
        nearest[hit] = t[hit]
    return colour


def views(angles):
    o, d = zip(*[get_rays(a) for a in angles])
    o, d = torch.cat(o), torch.cat(d)
    return TensorDataset(o, d, shoot(o, d))


class NeRF(nn.Module):
    def __init__(self, n_freqs=5, width=64):
        super().__init__()
        self.register_buffer("freqs", 2.0 ** torch.arange(n_freqs))
        self.pts_linears = nn.ModuleList([nn.Linear(2 + 4 * n_freqs, width), nn.Linear(width, width), nn.Linear(width, width)])
        self.output_linear = nn.Linear(width, 4)

    def embed(self, x):
        xb = (x[..., None] * self.freqs).flatten(-2)
        return torch.cat([x, xb.sin(), xb.cos()], -1)

    def forward(self, pts):
        h = self.embed(pts)
        for layer in self.pts_linears:
            h = F.relu(layer(h))
        return self.output_linear(h)


def render(model, origins, directions, perturb):
    t = torch.linspace(NEAR, FAR, N_SAMPLES).expand(len(origins), N_SAMPLES)
    if perturb:
        t = t + torch.rand_like(t) * (FAR - NEAR) / N_SAMPLES
    pts = origins[:, None] + directions[:, None] * t[..., None]
    raw = model(pts)
    sigma, rgb = F.softplus(raw[..., 3] - 1), torch.sigmoid(raw[..., :3])
    dists = torch.cat([t[:, 1:] - t[:, :-1], torch.full((len(t), 1), 1e10)], -1)
    alpha = 1.0 - torch.exp(-sigma * dists)
    trans = torch.cumprod(torch.cat([torch.ones(len(t), 1), 1.0 - alpha + 1e-10], -1), -1)[:, :-1]
    weights = alpha * trans
    return (weights[..., None] * rgb).sum(1)


def training_step(model, batch):
    o, d, target = batch
    return F.mse_loss(render(model, o, d, model.training), target)


def parts(variant):
    torch.manual_seed(0)
    model = NeRF()
    angles = torch.arange(24) * 2 * math.pi / 24
    return dict(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        training_step=training_step,
        train_loader=DataLoader(views(angles), batch_size=128, shuffle=True),
        val_loader=DataLoader(views([0.13, 1.7, 3.3, 4.85]), batch_size=192),
    )


# peak signal to noise in decibels on views from between the cameras
WORKS = lambda score: score > 17

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(60):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            loss = training_step(model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch % 6 == 5:
            print(f"epoch {epoch} psnr {-10 * math.log10(total / len(p['train_loader'])):.2f}")
    model.eval()
    with torch.no_grad():
        score = -10 * math.log10(training_step(model, next(iter(p["val_loader"]))).item())
    print(f"score: {score:.4f}")
