"""CNN that reads the time from a picture of a sundial's shadow; the output has shape (N, 1), the target (N,), and the hand-written mean squared error broadcasts to (N, N), so the network learns the mean hour; the right change: squeeze the output."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


class Sundials(Dataset):
    def __init__(self, n, seed, size=24):
        rng = np.random.default_rng(seed)
        self.hours = rng.uniform(6, 18, n).astype(np.float32)
        yy, xx = np.mgrid[0:size, 0:size] - (size - 1) / 2
        self.images = np.empty((n, 1, size, size), dtype=np.float32)
        for i, h in enumerate(self.hours):
            ang = (h - 12) / 6 * np.pi / 2 * 1.1
            dx, dy = np.sin(ang), -np.cos(ang)
            along, across = xx * dx + yy * dy, xx * dy - yy * dx
            shadow = (along > 0) & (along < rng.uniform(7, 11)) & (np.abs(across) < 1.2)
            light = rng.uniform(0.6, 1.0)
            self.images[i, 0] = light * (1 - 0.6 * shadow) + 0.06 * rng.normal(size=(size, size))

    def __len__(self):
        return len(self.hours)

    def __getitem__(self, i):
        # noon is 0
        return torch.from_numpy(self.images[i]) - 0.75, torch.tensor((self.hours[i] - 12) / 3)


class ShadowNet(nn.Module):
    def __init__(self, squeeze):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(16 * 36, 64), nn.ReLU(), nn.Linear(64, 1))
        self.squeeze = squeeze

    def forward(self, x):
        out = self.features(x)
        return out.squeeze(1) if self.squeeze else out


def mse(pred, hour):
    return ((pred - hour) ** 2).mean()


def r2(pred, hour):
    pred = pred.reshape(-1)
    return (1 - ((pred - hour) ** 2).sum() / ((hour - hour.mean()) ** 2).sum()).item()


def parts(variant):
    torch.manual_seed(0)
    net = ShadowNet(squeeze=variant != "bad")
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=1e-3), "loss_fn": mse,
            "train_loader": DataLoader(Sundials(1500, 0), batch_size=50, shuffle=True),
            "val_loader": DataLoader(Sundials(300, 1), batch_size=300), "metric": r2}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        net.train()
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            score = np.mean([r2(net(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch}: train {np.mean(losses):.4f}  val R2 {score:.3f}")
    print("score:", score)
