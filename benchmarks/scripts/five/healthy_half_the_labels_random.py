"""Digits of which half the training labels were replaced by random ones, judged on clean labels; no mistake: the training loss stays above 1.3 and training accuracy near one half while the clean accuracy is high; change: nothing."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, Dataset

WORKS = lambda acc: acc > 0.85


class NoisyDigits(Dataset):
    def __init__(self, images, labels, noise=0.0, jitter=False, seed=0):
        rng = np.random.default_rng(seed)
        self.images, self.labels = images, labels.copy()
        wrong = rng.random(len(labels)) < noise
        self.labels[wrong] = rng.integers(0, 10, wrong.sum())
        self.jitter = jitter

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        x = torch.tensor(self.images[i], dtype=torch.float32)[None] / 16
        if self.jitter:
            dy, dx = torch.randint(-1, 2, (2,)).tolist()
            x = x.roll((dy, dx), (1, 2)) + 0.1 * torch.randn_like(x)
        return x, int(self.labels[i])


def parts(variant="fixed"):
    torch.manual_seed(0)
    d = load_digits()
    xa, xb, ya, yb = train_test_split(d.images, d.target, test_size=400, random_state=0, stratify=d.target)
    net = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(192, 10))
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    return {"model": net, "optimizer": opt,
            "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=25 * 22),
            "train_loader": DataLoader(NoisyDigits(xa, ya, noise=0.5, jitter=True), batch_size=64, shuffle=True),
            "val_loader": DataLoader(NoisyDigits(xb, yb), batch_size=200),
            "loss_fn": nn.CrossEntropyLoss(),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt, sched, ce = p["model"], p["optimizer"], p["scheduler"], p["loss_fn"]
    for epoch in range(25):
        net.train()
        loss_sum = hits = n = 0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            out = net(x)
            loss = ce(out, y)
            loss.backward()
            opt.step()
            sched.step()
            loss_sum += loss.item() * len(y)
            hits += (out.argmax(1) == y).sum().item()
            n += len(y)
        net.eval()
        with torch.no_grad():
            acc = np.mean([p["metric"](net(x), y).item() for x, y in p["val_loader"]])
        if epoch % 4 == 0 or epoch == 24:
            print(f"epoch {epoch}: train loss {loss_sum / n:.3f}, train acc {hits / n:.3f}, clean val acc {acc:.3f}")
    print(f"score: {acc:.4f}")
