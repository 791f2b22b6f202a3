"""Convolutional net that synthesises the right view of a stereo endoscope from the left one; the mistake (bad): the dataset divides by 255 images that the reader has already brought to 0..1, so the error and its gradients are next to nothing; change: the dataset leaves the scale alone."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


def read_pair(rng, size=24):
    """one stereo pair as the reader returns it: float32 in 0..1, channels first"""
    yy, xx = np.mgrid[0:size, 0:size + 8].astype(np.float32)
    scene = 0.45 + 0.1 * np.sin(xx / rng.uniform(2, 5) + rng.uniform(0, 6)) * np.cos(yy / rng.uniform(2, 5))
    for _ in range(5):
        cx, cy, r = rng.uniform(4, size + 4), rng.uniform(2, size - 2), rng.uniform(2, 5)
        scene += rng.uniform(-0.35, 0.35) * np.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / (2 * r * r))
    scene = np.clip(scene + 0.01 * rng.standard_normal(scene.shape), 0, 1).astype(np.float32)
    return scene[None, :, 4:4 + size], scene[None, :, 7:7 + size]


class StereoPairs(Dataset):
    def __init__(self, n, seed, scale):
        rng = np.random.default_rng(seed)
        self.pairs = [read_pair(rng) for _ in range(n)]
        self.scale = scale

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        left, right = self.pairs[i]
        return torch.from_numpy(left / self.scale), torch.from_numpy(right / self.scale)


class RightView(nn.Module):
    def __init__(self, c=16):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, c, 5, padding=2), nn.ReLU(),
            nn.Conv2d(c, c, 5, padding=2), nn.ReLU(),
            nn.Conv2d(c, 1, 3, padding=1))

    def forward(self, x):
        return self.net(x)


def parts(variant):
    torch.manual_seed(0)
    scale = 255.0 if variant == "bad" else 1.0
    model = RightView()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(StereoPairs(800, 1, scale), batch_size=16, shuffle=True),
        "val_loader": DataLoader(StereoPairs(100, 2, scale), batch_size=50),
    }


WORKS = lambda score: score > 0.6  # share of the variance of the right image that is explained

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        model.train()
        running = 0.0
        for left, right in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(left), right)
            loss.backward()
            opt.step()
            running += loss.item()
        print(f"epoch {epoch + 1} loss {running / len(p['train_loader']):.8f}")
    model.eval()
    with torch.no_grad():
        out, ref = zip(*[(model(l), r) for l, r in p["val_loader"]])
    out, ref = torch.cat(out), torch.cat(ref)
    score = 1 - ((out - ref).pow(2).mean() / ref.var()).item()
    print(f"score: {score:.4f}")
