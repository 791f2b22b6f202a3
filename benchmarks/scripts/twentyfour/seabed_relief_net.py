"""Fully convolutional net that turns a side-lit sonar picture of the sea bed into its relief, in metres above or below the mean depth. The last layer is made with the same conv block as the others, which ends in ReLU, so no point can lie below the mean; the right change: a bare convolution as the last layer (act=False)."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIDE = 24


class SeabedTiles(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        yy, xx = np.mgrid[0:SIDE, 0:SIDE]
        self.pairs = []
        for _ in range(n):
            z = np.zeros((SIDE, SIDE))
            for _ in range(rng.integers(5, 9)):
                cy, cx = rng.uniform(-2, SIDE + 2, 2)
                wide = rng.uniform(2.0, 4.5)
                z += rng.normal(0, 1.3) * np.exp(-((yy - cy) ** 2 + (xx - cx) ** 2) / (2 * wide ** 2))
            z -= z.mean()
            slope = np.gradient(z, axis=1)
            echo = 0.2 * z + slope + rng.normal(0, 0.03, z.shape)
            ripple = 0.5 * np.gradient(z, axis=0) + rng.normal(0, 0.03, z.shape)
            self.pairs.append((np.stack([echo, ripple]).astype(np.float32), z[None].astype(np.float32)))

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        return self.pairs[i]


def conv_block(cin, cout, kernel=3, dilation=1, act=True):
    layers = [nn.Conv2d(cin, cout, kernel, padding=dilation * (kernel // 2), dilation=dilation)]
    if act:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class ReliefNet(nn.Module):
    def __init__(self, width=24, last_act=True):
        super().__init__()
        self.enter = conv_block(2, width, 5)
        self.middle = nn.ModuleList([conv_block(width, width, 3, d) for d in (1, 2, 4, 2)])
        self.leave = conv_block(width, 1, 1, act=last_act)

    def forward(self, sonar):
        h = self.enter(sonar)
        for block in self.middle:
            h = h + block(h)
        return self.leave(h)


def parts(variant):
    torch.manual_seed(0)
    model = ReliefNet(last_act=variant == "bad")
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(SeabedTiles(400, 51), batch_size=20, shuffle=True),
            "val_loader": DataLoader(SeabedTiles(100, 52), batch_size=50)}


WORKS = lambda score: score > 0.85


def relief_r2(model, loader):
    model.eval()
    with torch.no_grad():
        out, z = map(torch.cat, zip(*[(model(s), z) for s, z in loader]))
    return 1 - ((out - z).square().mean() / z.square().mean()).item()


def run(variant, epochs=5):
    p = parts(variant)
    for epoch in range(epochs):
        p["model"].train()
        total, seen = 0.0, 0
        for sonar, relief in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](sonar), relief)
            loss.backward()
            p["optimizer"].step()
            total, seen = total + loss.item() * len(sonar), seen + len(sonar)
        score = relief_r2(p["model"], p["val_loader"])
        print(f"epoch {epoch} train mse {total / seen:.4f} val R2 {score:.3f}")
    print("score:", score)


if __name__ == "__main__":
    run(sys.argv[1] if len(sys.argv) > 1 else "bad")
