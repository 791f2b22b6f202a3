"""Concentration from mass spectra (ion counts up to tens of thousands) by an MLP, SGD with momentum; the transform computes x - mean / std, without the brackets, and the raw counts blow the loss up; change: (x - mean) / std."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

CHANNELS = 60


def measure(n, seed):
    basis = np.random.default_rng(100)
    lines = basis.gamma(0.4, 1.0, (3, CHANNELS))
    floor = basis.uniform(2000, 9000, CHANNELS)
    rng = np.random.default_rng(seed)
    amounts = rng.uniform(0, 1, (n, 3))
    counts = rng.poisson(floor + 6000 * amounts @ lines).astype(np.float32)
    target = amounts[:, 0] + 0.8 * amounts[:, 0] * amounts[:, 1]
    return counts, ((target - 0.7) / 0.46).astype(np.float32)


class Normalise:
    def __init__(self, counts, brackets=True):
        self.mean, self.std = counts.mean(0), counts.std(0) + 1e-6
        self.brackets = brackets

    def __call__(self, x):
        if self.brackets:
            return (x - self.mean) / self.std
        return x - self.mean / self.std


class Spectra(Dataset):
    def __init__(self, counts, target, transform):
        self.counts, self.target, self.transform = counts, target, transform

    def __len__(self):
        return len(self.counts)

    def __getitem__(self, i):
        return torch.from_numpy(self.transform(self.counts[i])), torch.tensor([self.target[i]])


def parts(variant):
    torch.manual_seed(0)
    train, held_out = measure(1500, 1), measure(400, 2)
    transform = Normalise(train[0], brackets=variant != "bad")
    model = nn.Sequential(nn.Linear(CHANNELS, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": nn.MSELoss(),
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20),
        "train_loader": DataLoader(Spectra(*train, transform), batch_size=32, shuffle=True),
        "val_loader": DataLoader(Spectra(*held_out, transform), batch_size=200),
    }


@torch.no_grad()
def r2(model, loader):
    model.eval()
    out, y = zip(*[(model(x), y) for x, y in loader])
    out, y = torch.cat(out).nan_to_num(0.0).clamp(-1e3, 1e3), torch.cat(y)
    return 1 - ((out - y) ** 2).sum().item() / ((y - y.mean()) ** 2).sum().item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(20):
        model.train()
        running = 0.0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            optimizer.step()
            running += loss.item() * len(x)
        p["scheduler"].step()
        print(f"epoch {epoch + 1}: mse {running / len(p['train_loader'].dataset):.4f}")
    print(f"score: {r2(model, p['val_loader']):.4f}")
