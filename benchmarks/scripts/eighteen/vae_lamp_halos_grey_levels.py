"""Convolutional VAE for pictures of lamps in fog under binary cross-entropy; the grey levels stay 0 to 255, so the loss has no floor (bad). change: the dataset divides by 255."""
import sys
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


def photograph(n, seed):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:16, 0:16]
    cx, cy, width = rng.uniform(4, 12, n), rng.uniform(4, 12, n), rng.uniform(2, 5, n)
    r2 = (xx - cx[:, None, None]) ** 2 + (yy - cy[:, None, None]) ** 2
    img = 40 + 180 * np.exp(-r2 / (2 * width[:, None, None] ** 2)) + rng.normal(0, 3, (n, 16, 16))
    return img.clip(0, 255).astype(np.uint8)


class Lamps(Dataset):
    def __init__(self, images, scale):
        self.images = images
        self.scale = scale

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        x = torch.from_numpy(self.images[i]).float().unsqueeze(0) / self.scale
        return x, x


class ConvVAE(nn.Module):
    def __init__(self, latent=6):
        super().__init__()
        self.enc = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 64), nn.ReLU())
        self.fc_mu, self.fc_var = nn.Linear(64, latent), nn.Linear(64, latent)
        self.dec = nn.Sequential(nn.Linear(latent, 64), nn.ReLU(), nn.Linear(64, 256), nn.ReLU(), nn.Unflatten(1, (16, 4, 4)),
                                 nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1))

    def forward(self, x):
        h = self.enc(x)
        mu, log_var = self.fc_mu(h), self.fc_var(h)
        z = mu + (0.5 * log_var).exp() * torch.randn_like(mu) if self.training else mu
        return self.dec(z), mu, log_var


def loss_fn(output, target):
    logits, mu, log_var = output
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    kld = -0.5 * torch.sum(1 + log_var - mu ** 2 - log_var.exp())
    return (bce + kld) / len(target)


def parts(variant):
    torch.manual_seed(0)
    model = ConvVAE()
    scale = 1 if variant == "bad" else 255
    return {"model": model, "loss_fn": loss_fn, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "train_loader": DataLoader(Lamps(photograph(2000, 1), scale), 50, shuffle=True),
            "val_loader": DataLoader(Lamps(photograph(400, 2), scale), 400)}


@torch.no_grad()
def error(model, loader):
    model.eval()
    x, _ = next(iter(loader))
    shown = torch.sigmoid(model(x)[0])
    model.train()
    return (shown - x / (255 if x.max() > 1 else 1)).abs().mean().item()


WORKS = lambda score: score < 0.06  # mean absolute error of the picture shown, black 0 to white 1

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(20):
        total = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch + 1}: {total / len(p['train_loader']):.2f}, error {error(p['model'], p['val_loader']):.4f}")
    print(f"score: {error(p['model'], p['val_loader']):.4f}")
