"""VAE on digits; the reconstruction is a mean over all pixels and the KL a sum over the batch, so the latent collapses; change: the fixed twin sums both."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
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

NOISE_VAR = 0.06


class VAE(nn.Module):
    def __init__(self, latent=10, hidden=96):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.mu = nn.Linear(hidden, latent)
        self.logvar = nn.Linear(hidden, latent)
        self.dec = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 64))

    def encode(self, x):
        h = self.enc(x)
        return self.mu(h), self.logvar(h)

    def forward(self, x):
        mu, logvar = self.encode(x)
        if self.training:
            z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        else:
            z = mu
        return self.dec(z), mu, logvar


def elbo_loss(outputs, x, reduction):
    recon, mu, logvar = outputs
    rec = F.mse_loss(recon, x, reduction=reduction) / (2 * NOISE_VAR)
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return rec + kld


def parts(variant):
    torch.manual_seed(0)
    X = load_digits()[0].flatten(1) / 16
    X = X[torch.randperm(len(X), generator=torch.Generator().manual_seed(4))]
    reduction = "mean" if variant == "bad" else "sum"
    model = VAE()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "loss_fn": lambda out, target: elbo_loss(out, target, reduction),
        "train_loader": DataLoader(TensorDataset(X[:1500], X[:1500]), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(X[1500:], X[1500:]), batch_size=297),
    }


WORKS = lambda score: score > 0.35  # explained variance of the reconstruction

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(30):
        model.train()
        tot = 0
        for x, target in p["train_loader"]:
            out = model(x)
            loss = p["loss_fn"](out, target)
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot += loss.item()
        model.eval()
        with torch.no_grad():
            x, target = next(iter(p["val_loader"]))
            recon = model(x)[0]
            ev = 1 - (recon - target).pow(2).sum() / (target - target.mean(0)).pow(2).sum()
        print(f"epoch {epoch} loss {tot / len(p['train_loader']):.3f} explained variance {ev.item():.4f}")
    print(f"score: {ev.item():.4f}")
