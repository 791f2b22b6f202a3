"""Potholes on road pictures (pothole, crack, sound), a small VGG-like CNN from scratch; bad: SGD at 1e-5, a rate copied from a fine-tuning recipe, so the loss stays at chance; change: 0.02."""
import argparse
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class RoadPictures(Dataset):
    def __init__(self, n, seed, train):
        rng = np.random.default_rng(seed)
        self.train = train
        self.labels = rng.integers(0, 3, n)
        self.images = np.zeros((n, 3, 24, 24), dtype=np.uint8)
        yy, xx = np.mgrid[:24, :24]
        for i, k in enumerate(self.labels):
            g = rng.normal(120, 10, (24, 24))
            cy, cx = rng.uniform(7, 17, 2)
            if k == 0:
                d = ((xx - cx) / rng.uniform(3, 5)) ** 2 + ((yy - cy) / rng.uniform(2, 4)) ** 2
                g -= 60 * (d < 1)
                g += 20 * ((d >= 1) & (d < 1.5))
            elif k == 1:
                path = cx + np.cumsum(rng.normal(0, 0.8, 24))
                g -= 60 * (np.abs(xx - path[:, None]) < 0.9)
            tint = np.array([1.0, 0.97, 0.94])[:, None, None] * rng.uniform(0.8, 1.2)
            self.images[i] = np.clip(g * tint, 0, 255)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        x = torch.from_numpy(self.images[i]).float() / 255
        x = (x - 0.45) / 0.12
        if self.train and torch.rand(1) < 0.5:
            x = x.flip(-1)
        return x, torch.tensor(self.labels[i])


def vgg(widths, n_classes):
    layers, c = [], 3
    for w in widths:
        layers += [nn.Conv2d(c, w, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        c = w
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(c * 9, 64), nn.ReLU(inplace=True), nn.Linear(64, n_classes))


def parts(variant):
    torch.manual_seed(0)
    model = vgg([16, 32, 32], 3)
    lr = 1e-5 if variant == "bad" else 0.02
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)
    return dict(model=model, optimizer=optimizer, loss_fn=nn.CrossEntropyLoss(),
                scheduler=torch.optim.lr_scheduler.StepLR(optimizer, step_size=8, gamma=0.1),
                train_loader=DataLoader(RoadPictures(1600, 0, True), batch_size=32, shuffle=True),
                val_loader=DataLoader(RoadPictures(400, 1, False), batch_size=100))


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=12)
    args = ap.parse_args()
    torch.set_num_threads(1)
    p = parts(args.variant)
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(args.epochs):
        model.train()
        tot = 0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            tot += loss.item()
        p["scheduler"].step()
        model.eval()
        with torch.no_grad():
            score = torch.cat([(model(x).argmax(1) == y).float() for x, y in p["val_loader"]]).mean().item()
        print(f"epoch {epoch + 1}/{args.epochs} loss {tot / len(p['train_loader']):.4f} val acc {score:.4f}")
    print(f"score: {score:.4f}")
