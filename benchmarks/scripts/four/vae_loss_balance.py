"""VAE on digits; the reconstruction is averaged over pixels while the KL is summed over the code, so the code collapses to the prior; change: both summed per image."""
import sys
import numpy as np
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


FONT = ["0e11111111110e", "040c040404040e", "0e11010204081f", "1f02040201110e", "02060a121f0202", "1f101e0101110e", "0608101e11110e", "1f010204080808", "0e11110e11110e", "0e11110f01020c"]


def glyphs(n, seed):
    """Digits of a 5 x 7 font on 8 x 8 pixels, somewhere, strokes of unequal ink, smeared and speckled."""
    rng = np.random.RandomState(seed)
    y = rng.randint(0, 10, n)
    x = np.zeros((n, 8, 8), dtype=np.float32)
    for i, k in enumerate(y):
        rows = [int(FONT[k][2 * r:2 * r + 2], 16) for r in range(7)]
        bits = np.array([[(b >> (4 - c)) & 1 for c in range(5)] for b in rows], dtype=np.float32)
        dy, dx = rng.randint(0, 2), rng.randint(0, 4)
        x[i, dy:dy + 7, dx:dx + 5] = bits * rng.uniform(0.6, 1.0, bits.shape)
    smear = rng.uniform(0, 0.3, (n, 1, 1)).astype(np.float32)
    x = (1 - smear) * x + smear * np.roll(x, 1, axis=2)
    return np.clip(x + 0.08 * rng.randn(n, 8, 8), 0, 1).astype(np.float32), y.astype(np.int64)


class VAE(nn.Module):
    def __init__(self, latent=8, hidden=128):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, hidden), nn.ReLU())
        self.mu, self.logvar = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.dec = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, 64))

    def forward(self, x):
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar) if self.training else mu
        return self.dec(z), mu, logvar


def elbo(model, batch, reduction):
    x = batch[0]
    recon, mu, logvar = model(x)
    if reduction == "mean":
        rec = F.binary_cross_entropy_with_logits(recon, x)
    else:
        rec = F.binary_cross_entropy_with_logits(recon, x, reduction="sum") / len(x)
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), dim=1).mean()
    return rec + kld


def parts(variant):
    torch.manual_seed(0)
    x = torch.from_numpy(glyphs(1800, 12)[0]).flatten(1)
    net = VAE()
    reduction = "mean" if variant == "bad" else "sum"
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=1e-3),
            "training_step": lambda model, batch: elbo(model, batch, reduction),
            "train_loader": DataLoader(TensorDataset(x[:1400]), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[1400:]), batch_size=400)}


WORKS = lambda score: score > 0.3


@torch.no_grad()
def explained(model, loader):
    """Share of the pixels' variance that the reconstruction explains."""
    model.eval()
    x = torch.cat([b[0] for b in loader])
    r = torch.sigmoid(model(x)[0])
    return 1 - ((x - r) ** 2).mean().item() / ((x - x.mean(0)) ** 2).mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(90):
        model.train()
        s = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            s += loss.item()
        if epoch % 10 == 9:
            print(f"====> Epoch: {epoch + 1} Average loss: {s / len(p['train_loader']):.4f}  explained {explained(model, p['val_loader']):.3f}")
    print(f"score: {explained(model, p['val_loader']):.4f}")
