"""The angle of a Ferris wheel with one red cabin from a small picture, a CNN that regresses sine and cosine and normalises them; unusual: two outputs on the unit circle for one angle, and a metric in degrees."""
import sys
import math
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def wheel_pictures(n, seed):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:28, 0:28]
    imgs, angles = np.zeros((n, 3, 28, 28), np.float32), rng.uniform(0, 2 * np.pi, n)
    for i, a in enumerate(angles):
        cx, cy, r = rng.uniform(12, 16), rng.uniform(12, 16), rng.uniform(8, 10)
        img = np.full((3, 28, 28), rng.uniform(0.5, 0.9))
        for k in range(8):
            t = a + k * np.pi / 4
            cabin = np.exp(-((xx - cx - r * np.cos(t)) ** 2 + (yy - cy - r * np.sin(t)) ** 2) / 2.5)
            colour = np.array([0.9, 0.1, 0.1]) if k == 0 else np.array([0.2, 0.3, 0.6])
            img = img * (1 - cabin) + colour[:, None, None] * cabin
        imgs[i] = img + rng.normal(0, 0.04, img.shape)
    return torch.from_numpy((imgs - 0.6) / 0.25), torch.tensor(angles, dtype=torch.float32)


class AngleNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())
        self.fc = nn.Sequential(nn.Flatten(), nn.Linear(32 * 49, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, x):
        return F.normalize(self.fc(self.conv(x)), dim=1)


def angle_loss(out, angle):
    target = torch.stack([angle.cos(), angle.sin()], 1)
    return F.mse_loss(out, target)


def median_degrees(out, angle):
    diff = torch.atan2(out[:, 1], out[:, 0]) - angle
    diff = torch.remainder(diff + math.pi, 2 * math.pi) - math.pi
    return math.degrees(diff.abs().median().item())


def parts(variant):
    torch.manual_seed(6)
    model = AngleNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": angle_loss,
            "train_loader": DataLoader(TensorDataset(*wheel_pictures(1500, 1)), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*wheel_pictures(300, 2)), batch_size=300), "metric": median_degrees}


# median error in degrees
WORKS = lambda score: score < 6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        net.train()
        losses = []
        for img, angle in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(img), angle)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            img, angle = next(iter(p["val_loader"]))
            deg = median_degrees(net(img), angle)
        print(f"epoch {epoch} loss {np.mean(losses):.4f} median error {deg:.2f} deg")
    print("score:", deg)
