"""Convolutional VAE on 16x16 drawings of spiral shells; mistake: the reconstruction is MSE averaged over all pixels while the KL term is summed over batch and latents, KL outweighs it by thousands, the code carries nothing and every picture comes back as the mean; change: the reconstruction summed too (both per picture)."""
import sys
import math
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def shells(n, seed, size=16):
    g = torch.Generator().manual_seed(seed)
    u = lambda lo, hi: lo + (hi - lo) * torch.rand(n, 1, 1, generator=g)
    ax = torch.linspace(-1, 1, size)
    yy, xx = torch.meshgrid(ax, ax, indexing="ij")
    cx, cy = u(-0.25, 0.25), u(-0.25, 0.25)
    r = torch.sqrt((xx - cx) ** 2 + (yy - cy) ** 2)
    a = torch.atan2(yy - cy, xx - cx)
    body = torch.sigmoid((u(0.5, 0.8) - r) * 14)
    coil = 0.5 + 0.5 * torch.sin(u(5, 8) * r - a + u(0, 2 * math.pi))
    return TensorDataset((body * (0.25 + 0.75 * coil)).unsqueeze(1))


class ShellVAE(nn.Module):
    def __init__(self, z_dim=8):
        super().__init__()
        self.enc = nn.Sequential(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(),
                                 nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten())
        self.mu = nn.Linear(32 * 16, z_dim)
        self.logvar = nn.Linear(32 * 16, z_dim)
        self.fc = nn.Linear(z_dim, 32 * 16)
        self.dec = nn.Sequential(nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1), nn.ReLU(),
                                 nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1), nn.Sigmoid())

    def encode(self, x):
        h = self.enc(x)
        return self.mu(h), self.logvar(h)

    def decode(self, z):
        return self.dec(F.relu(self.fc(z)).view(-1, 32, 4, 4))

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu) if self.training else mu
        return self.decode(z), mu, logvar


def kl_divergence(mu, logvar):
    return -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())


def parts(variant):
    torch.manual_seed(0)

    if variant == "bad":
        def training_step(model, batch):
            x = batch[0]
            recon, mu, logvar = model(x)
            return F.mse_loss(recon, x) + kl_divergence(mu, logvar)
    else:
        def training_step(model, batch):
            x = batch[0]
            recon, mu, logvar = model(x)
            return (10 * F.mse_loss(recon, x, reduction="sum") + kl_divergence(mu, logvar)) / len(x)

    model = ShellVAE()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), training_step=training_step,
                train_loader=DataLoader(shells(2000, 1), batch_size=50, shuffle=True),
                val_loader=DataLoader(shells(400, 2), batch_size=100))


WORKS = lambda score: score > 0.6   # share of the held-out pixel variance that the reconstruction explains

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    vae, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        vae.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](vae, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f}")
    vae.eval()
    with torch.no_grad():
        x = torch.cat([b[0] for b in p["val_loader"]])
        rest = ((vae(x)[0] - x) ** 2).sum()
        score = (1 - rest / ((x - x.mean(0)) ** 2).sum()).item()
    print(f"score: {score:.4f}")
