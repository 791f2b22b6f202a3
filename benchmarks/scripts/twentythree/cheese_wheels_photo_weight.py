"""CNN that estimates the weight in grams of a cheese wheel from a photo. The targets are raw grams (thousands), so with Adam the output crawls up from zero and the loss is in the millions; the right change: standardise the weights for training (and turn the prediction back for the report)."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


class CheeseDataset(Dataset):
    def __init__(self, n, seed, mean=0.0, std=1.0):
        rng = np.random.default_rng(seed)
        yy, xx = np.mgrid[:24, :24]
        self.images, self.grams = [], []
        for _ in range(n):
            radius, rind = rng.uniform(4, 10), rng.uniform(0.3, 1.0)
            cy, cx = rng.uniform(10, 14, 2)
            disc = np.hypot(yy - cy, xx - cx) < radius
            img = disc * rind + rng.normal(0, 0.1, (24, 24))
            self.images.append(img.astype(np.float32)[None])
            # darker rind means riper and lighter cheese
            self.grams.append(55.0 * radius ** 2 * (0.7 + 0.5 * rind) + rng.normal(0, 60))
        self.mean, self.std = mean, std

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        img = (self.images[i] - 0.3) / 0.35
        target = (self.grams[i] - self.mean) / self.std
        return torch.from_numpy(img), torch.tensor([target], dtype=torch.float32)


class WeightNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU())
        self.fc = nn.Sequential(nn.Flatten(), nn.Linear(16 * 36, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x):
        return self.fc(self.conv(x))


def parts(variant):
    torch.manual_seed(0)
    mean, std = 0.0, 1.0
    if variant != "bad":
        grams = CheeseDataset(640, 0).grams
        mean, std = float(np.mean(grams)), float(np.std(grams))
    model = WeightNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-4), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(CheeseDataset(640, 0, mean, std), batch_size=16, shuffle=True),
            "val_loader": DataLoader(CheeseDataset(160, 1, mean, std), batch_size=80)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer, mse = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        model.train()
        total = 0
        for img, w in p["train_loader"]:
            optimizer.zero_grad()
            loss = mse(model(img), w)
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        pred, true = [], []
        with torch.no_grad():
            for img, w in p["val_loader"]:
                pred.append(model(img))
                true.append(w)
        pred, true = torch.cat(pred), torch.cat(true)
        r2 = 1 - ((pred - true) ** 2).mean() / true.var(unbiased=False)
        print(f"epoch {epoch + 1}: train loss {total / len(p['train_loader']):.4g}, val R2 {r2:.3f}")
    print("score:", r2.item())
