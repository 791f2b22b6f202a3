"""GAN for 12 x 12 grey photos of thimbles. The photos come as pixel values 0 to 255, but the generator ends in tanh and can only paint values from -1 to 1, so the discriminator tells them apart at once; the right change: scale the photos to -1 ... 1 (x / 127.5 - 1)."""
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIDE, NOISE = 12, 16


def photograph(n, g):
    rows, cols = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    top = torch.randint(2, 5, (n, 1, 1), generator=g)
    width = 2.0 + 1.5 * torch.rand(n, 1, 1, generator=g)
    flare = 0.1 + 0.15 * torch.rand(n, 1, 1, generator=g)
    centre = 5.5 + 0.6 * torch.randn(n, 1, 1, generator=g)
    inside = ((cols - centre).abs() < width + flare * (rows - top)) & (rows >= top) & (rows < 11)
    shine = 150 + 60 * torch.cos((cols - centre + 1.0) / 2.0)
    image = torch.where(inside, shine, torch.full_like(shine, 35.0))
    return (image + 8 * torch.randn(n, SIDE, SIDE, generator=g)).clamp(0, 255).to(torch.uint8)


class ThimblePhotos(Dataset):
    def __init__(self, n, transform, seed=0):
        self.images = photograph(n, torch.Generator().manual_seed(seed))
        self.transform = transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.transform(self.images[i])


def to_float(image):
    return image.float().flatten()


def to_unit(image):
    return image.float().flatten() / 127.5 - 1.0


class GAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.G = nn.Sequential(nn.Linear(NOISE, 96), nn.BatchNorm1d(96), nn.ReLU(),
                               nn.Linear(96, 128), nn.BatchNorm1d(128), nn.ReLU(),
                               nn.Linear(128, SIDE * SIDE), nn.Tanh())
        self.D = nn.Sequential(nn.Linear(SIDE * SIDE, 96), nn.LeakyReLU(0.2), nn.Dropout(0.2),
                               nn.Linear(96, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))

    def sample(self, n):
        return self.G(torch.randn(n, NOISE))


bce = nn.BCEWithLogitsLoss()


def gan_step(gan, real, optimizers):
    opt_g, opt_d = optimizers
    ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
    fake = gan.sample(len(real))
    d_loss = bce(gan.D(real), 0.9 * ones) + bce(gan.D(fake.detach()), zeros)
    opt_d.zero_grad()
    d_loss.backward()
    opt_d.step()
    g_loss = bce(gan.D(fake), ones)
    opt_g.zero_grad()
    g_loss.backward()
    opt_g.step()
    return (d_loss + g_loss).detach()


def parts(variant):
    torch.manual_seed(21)
    gan = GAN()
    data = ThimblePhotos(2000, to_float if variant == "bad" else to_unit)
    return {"model": gan, "step": gan_step,
            "optimizer": (torch.optim.Adam(gan.G.parameters(), lr=1e-3, betas=(0.5, 0.999)),
                          torch.optim.Adam(gan.D.parameters(), lr=5e-4, betas=(0.5, 0.999))),
            "train_loader": DataLoader(data, batch_size=64, shuffle=True, drop_last=True)}


WORKS = lambda score: score < 0.3      # distance of the mean photo, in half ranges of the pixel values

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    gan = p["model"]
    for epoch in range(20):
        for real in p["train_loader"]:
            loss = p["step"](gan, real, p["optimizer"])
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: {loss.item():.3f}")
    held = ThimblePhotos(500, p["train_loader"].dataset.transform, seed=1)
    held = torch.stack([held[i] for i in range(500)])
    gan.eval()
    with torch.no_grad():
        fake = gan.sample(500)
    half = (held.max() - held.min()) / 2
    print("score:", ((fake.mean(0) - held.mean(0)).abs().mean() / half).item())
