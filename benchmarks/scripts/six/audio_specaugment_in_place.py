"""Classifies synthetic sound spectrograms with SpecAugment; the masks are written into the stored spectrograms, which get emptier each epoch; change: the item is cloned first."""
import argparse

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

N_CLASSES, SR, WIN, HOP = 6, 2000, 64, 32


def synth(label, rng):
    """half a second of sound: up/down chirp or pulse train, at two rates each"""
    t = np.arange(1024) / SR
    f0 = rng.uniform(150, 300)
    kind, rate = label % 3, 1 + label // 3
    if kind == 0:
        s = np.sin(2 * np.pi * (f0 * t + 350 * rate * t ** 2))
    elif kind == 1:
        s = np.sin(2 * np.pi * ((f0 + 700 * rate * 0.5) * t - 350 * rate * t ** 2))
    else:
        s = np.sin(2 * np.pi * f0 * t) * (np.sin(2 * np.pi * 5 * rate * t + rng.uniform(0, 6)) > 0)
    return s * rng.uniform(0.3, 1) + 0.5 * rng.randn(len(t))


class Sounds(Dataset):
    def __init__(self, n, seed, augment=False, keep=True):
        rng = np.random.RandomState(seed)
        self.labels = torch.tensor(rng.randint(0, N_CLASSES, n))
        wav = torch.tensor(np.stack([synth(int(l), rng) for l in self.labels]), dtype=torch.float32)
        spec = torch.stft(wav, WIN, HOP, window=torch.hann_window(WIN), return_complex=True).abs()
        spec = torch.log1p(spec)
        self.specs = spec - spec.mean()
        self.augment, self.keep = augment, keep
        self.rng = np.random.RandomState(seed + 1)

    def __len__(self):
        return len(self.labels)

    def spec_augment(self, spec, n_masks=2, width=7):
        F, T = spec.shape
        for _ in range(n_masks):
            f, t = self.rng.randint(0, F - 1), self.rng.randint(0, T - 1)
            spec[f:f + self.rng.randint(1, width), :] = 0
            spec[:, t:t + self.rng.randint(1, width)] = 0
        return spec

    def __getitem__(self, i):
        spec = self.specs[i]
        if self.keep:
            spec = spec.clone()
        if self.augment:
            spec = self.spec_augment(spec)
        return spec.unsqueeze(0), self.labels[i]


def conv(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2))


def parts(variant):
    torch.manual_seed(7)
    model = nn.Sequential(conv(1, 12), conv(12, 24), conv(24, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(32, N_CLASSES))
    train = Sounds(900, seed=0, augment=True, keep=variant != "bad")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    return dict(model=model, optimizer=optimizer,
                train_loader=DataLoader(train, batch_size=32, shuffle=True),
                val_loader=DataLoader(Sounds(300, seed=50), batch_size=100),
                loss_fn=nn.CrossEntropyLoss(label_smoothing=0.05),
                metric=lambda o, y: (o.argmax(1) == y).float().mean())


WORKS = lambda score: score > 0.85


def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        return sum((model(x).argmax(1) == y).sum().item() for x, y in loader) / len(loader.dataset)


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=30)
    args = ap.parse_args()
    p = parts(args.variant)
    for epoch in range(args.epochs):
        p["model"].train()
        total = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1:2d}  train {total / len(p['train_loader']):.3f}"
                  f"  val acc {evaluate(p['model'], p['val_loader']):.3f}")
    print(f"score: {evaluate(p['model'], p['val_loader']):.4f}")
