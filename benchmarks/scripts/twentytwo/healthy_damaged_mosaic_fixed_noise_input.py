"""Restores one damaged mosaic picture by a deep image prior: a decoder is fitted to the one picture from a fixed random input, loss on the undamaged pixels only; unusual: the input is noise that never changes, and the training set is a single picture."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
N = 48


def mosaic():
    yy, xx = np.mgrid[0:N, 0:N] / N
    r = np.hypot(xx - .5, yy - .5)
    a = np.arctan2(yy - .5, xx - .5)
    red = 0.5 + 0.4 * np.sin(14 * r * np.pi / 2)
    green = 0.5 + 0.4 * (np.cos(6 * a) > 0.2) * (r < .42) - 0.2
    blue = 0.3 + 0.5 * (np.abs(xx - .5) + np.abs(yy - .5) < .35)
    return torch.tensor(np.stack([red, green, blue]), dtype=torch.float32).clamp(0, 1)


class OnePicture(Dataset):
    def __init__(self, steps):
        g = torch.Generator().manual_seed(0)
        self.steps = steps
        self.picture = mosaic()
        self.known = (torch.rand(1, N, N, generator=g) > 0.5).float()
        self.z = torch.rand(16, N // 4, N // 4, generator=g) * 0.1
        self.target = torch.cat([self.picture * self.known, self.known])

    def __len__(self):
        return self.steps

    def __getitem__(self, i):
        return self.z, self.target


def known_pixels_mse(out, target):
    picture, known = target[:, :3], target[:, 3:]
    return (known * (out - picture) ** 2).sum() / (3 * known.sum())


def conv(c_in, c_out):
    return [nn.Conv2d(c_in, c_out, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(c_out), nn.LeakyReLU(0.2)]


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(*conv(16, 32), nn.Upsample(scale_factor=2, mode="bilinear"), *conv(32, 32), nn.Upsample(scale_factor=2, mode="bilinear"),
                          *conv(32, 32), *conv(32, 32), nn.Conv2d(32, 3, 1), nn.Sigmoid())
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=0.01), "loss_fn": known_pixels_mse,
            "train_loader": DataLoader(OnePicture(500), batch_size=1)}


# PSNR of the pixels that were lost
WORKS = lambda score: score > 17

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt, data = p["model"], p["optimizer"], p["train_loader"].dataset
    net.train()
    for i, (z, target) in enumerate(p["train_loader"]):
        opt.zero_grad()
        loss = p["loss_fn"](net(z), target)
        loss.backward()
        opt.step()
        if i % 50 == 49:
            print(f"step {i + 1} loss on known pixels {loss.item():.5f}")
    with torch.no_grad():
        out = net(data.z[None])[0]  # still in train mode, statistics of the one picture
        lost = 1 - data.known
        mse = (lost * (out - data.picture) ** 2).sum() / (3 * lost.sum())
    print("score:", -10 * torch.log10(mse).item())
