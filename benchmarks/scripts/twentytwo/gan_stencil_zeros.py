"""DCGAN for 8x8 stencils of the digit zero; the generator ends in a sigmoid. The real images stay 8-bit numbers from 0 to 255, the discriminator tells them from the generated ones at once and the generator learns nothing; the right change: divide the images by 255.
Report: https://github.com/carpedm20/DCGAN-tensorflow/pull/24"""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
Z = 16


def load_mnist_like(scale):
    d = load_digits()
    images = np.round(d.images[d.target == 0] / 16 * 255)  # 8-bit, as in the files
    return torch.tensor(images[:, None] / scale, dtype=torch.float32)


class DCGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.g = nn.Sequential(nn.Linear(Z, 64 * 4), nn.BatchNorm1d(256), nn.ReLU(), nn.Unflatten(1, (64, 2, 2)),
                               nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
                               nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Sigmoid())
        self.d = nn.Sequential(nn.Conv2d(1, 32, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(32, 64, 4, 2, 1), nn.LeakyReLU(0.2),
                               nn.Flatten(), nn.Linear(256, 1))

    def forward(self, z):
        return self.g(z)


def parts(variant):
    torch.manual_seed(0)
    images = load_mnist_like(1.0 if variant == "bad" else 255.0)
    model = DCGAN()
    bce = nn.BCEWithLogitsLoss()
    d_optim = torch.optim.Adam(model.d.parameters(), lr=4e-4, betas=(0.5, 0.999))
    g_optim = torch.optim.Adam(model.g.parameters(), lr=1e-3, betas=(0.5, 0.999))

    def step(model, batch, optimizer):
        (real,) = batch
        n = len(real)
        fake = model.g(torch.randn(n, Z))
        d_optim.zero_grad()
        d_loss = bce(model.d(real), torch.ones(n, 1)) + bce(model.d(fake.detach()), torch.zeros(n, 1))
        d_loss.backward()
        d_optim.step()
        optimizer.zero_grad()
        g_loss = bce(model.d(fake), torch.ones(n, 1))
        g_loss.backward()
        optimizer.step()
        return g_loss

    return {"model": model, "optimizer": g_optim, "step": step,
            "train_loader": DataLoader(TensorDataset(images), batch_size=32, shuffle=True, drop_last=True)}


WORKS = lambda score: score < 0.1

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(200):
        model.train()
        for batch in p["train_loader"]:
            g_loss = p["step"](model, batch, p["optimizer"])
        if epoch % 40 == 39:
            print(f"epoch {epoch + 1}: g_loss {g_loss.item():.3f}")
    # how far the mean image and the spread of the pixels are from those of the real ones
    with torch.no_grad():
        fake = model(torch.randn(500, Z))
    real = load_mnist_like(255.0)
    print("score:", ((fake.mean(0) - real.mean(0)).abs().mean() + (fake.std(0) - real.std(0)).abs().mean()).item() / 2)
