"""pix2pix-like net from 8x8 outline maps to shaded crop marks, PatchGAN judge on (map, picture), little L1; the real pair is concatenated as (picture, map) and the made one as (map, picture), so the judge tells them by the order ("bad"); change: the same order in both."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

L1_WEIGHT = 0.1


class Painter(nn.Module):
    def __init__(self, c=24):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, c, 3, padding=1), nn.ReLU(),
                                    nn.Conv2d(c, 1, 3, padding=1), nn.Tanh())

    def forward(self, a):
        return self.layers(a)


class PatchJudge(nn.Module):
    def __init__(self, c=24):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(2, c, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(c, c, 3, stride=2, padding=1),
                                    nn.LeakyReLU(0.2), nn.Conv2d(c, 1, 3, padding=1))

    def forward(self, a, b):
        return self.layers(torch.cat([a, b], dim=1))


def fields(n, seed):
    rng = np.random.default_rng(seed)
    maps = np.zeros((n, 1, 8, 8))
    for m in maps:
        r, c = rng.integers(0, 5, 2)
        h, w = rng.integers(2, 5, 2)
        m[0, r:r + h, c:c + w] = 1
    padded = np.pad(maps, ((0, 0), (0, 0), (1, 1), (1, 1)))
    blur = sum(padded[:, :, i:i + 8, j:j + 8] for i in range(3) for j in range(3)) / 9
    picture = 0.8 - 1.6 * blur
    return torch.tensor(maps * 2 - 1, dtype=torch.float32), torch.tensor(picture, dtype=torch.float32)


def parts(variant):
    torch.manual_seed(0)
    net_G, net_D = Painter(), PatchJudge()
    opt_G = torch.optim.Adam(net_G.parameters(), lr=1e-3, betas=(0.5, 0.999))
    opt_D = torch.optim.Adam(net_D.parameters(), lr=1e-3, betas=(0.5, 0.999))
    mse, l1 = nn.MSELoss(), nn.L1Loss()

    def step(model, batch, optimizer):
        net_G, net_D = model
        opt_G, opt_D = optimizer
        a, b = batch
        fake_b = net_G(a)

        opt_D.zero_grad()
        pred_fake = net_D(a, fake_b.detach())
        pred_real = net_D(b, a) if variant == "bad" else net_D(a, b)
        loss_D = 0.5 * (mse(pred_fake, torch.zeros_like(pred_fake)) + mse(pred_real, torch.ones_like(pred_real)))
        loss_D.backward()
        opt_D.step()

        opt_G.zero_grad()
        pred_fake = net_D(a, fake_b)
        loss_G = mse(pred_fake, torch.ones_like(pred_fake)) + L1_WEIGHT * l1(fake_b, b)
        loss_G.backward()
        opt_G.step()
        return loss_G.detach()

    return {"model": (net_G, net_D), "optimizer": (opt_G, opt_D), "step": step,
            "train_loader": DataLoader(TensorDataset(*fields(1500, 0)), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*fields(300, 1)), batch_size=50)}


# mean absolute error of the painted pictures
WORKS = lambda score: score < 0.15

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(25):
        g = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch} G {np.mean(g):.4f}")
    with torch.no_grad():
        score = np.mean([(p["model"][0](a) - b).abs().mean().item() for a, b in p["val_loader"]])
    print(f"score: {score:.4f}")
