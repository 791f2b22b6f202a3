"""Species of bat (8) from the call's spectrum, MLP with dropout, SGD with momentum; the indices of the random split are sorted (as h5py wants them) and the file lists species after species, while the loader leaves the order to the split; change: shuffle=True in the training loader."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset, Subset, random_split

SPECIES, BINS = 8, 40


class Calls(Dataset):
    """The recordings as they lie in the file: one species after the other, 300 of each."""

    def __init__(self, each=300):
        rng = np.random.default_rng(1)
        f = np.linspace(0, 1, BINS)
        spectra, labels = [], []
        for k in range(SPECIES):
            peak = 0.2 + 0.08 * k + 0.03 * rng.normal(size=(each, 1))
            width = 0.05 + 0.02 * (k % 3) + 0.005 * rng.normal(size=(each, 1))
            strength = 1.0 + 0.3 * rng.normal(size=(each, 1))
            harmonic = 0.6 if k % 2 else 0.25
            s = np.exp(-0.5 * ((f - peak) / width) ** 2) + harmonic * np.exp(-0.5 * ((f - 1.5 * peak) / width) ** 2)
            spectra.append(strength * s + 0.15 * rng.normal(size=(each, BINS)))
            labels += [k] * each
        self.x = torch.tensor(np.concatenate(spectra), dtype=torch.float32)
        self.y = torch.tensor(labels)

    def standardise(self, rows):
        self.x = (self.x - self.x[rows].mean(0)) / self.x[rows].std(0)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def split(calls):
    train, val = random_split(calls, [0.8, 0.2], generator=torch.Generator().manual_seed(0))
    calls.standardise(train.indices)
    return Subset(calls, sorted(train.indices)), Subset(calls, sorted(val.indices))


def parts(variant):
    torch.manual_seed(0)
    train, val = split(Calls())
    model = nn.Sequential(
        nn.Linear(BINS, 96), nn.ReLU(), nn.Dropout(0.1),
        nn.Linear(96, 64), nn.ReLU(), nn.Dropout(0.1),
        nn.Linear(64, SPECIES),
    )
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(train, batch_size=24, shuffle=variant != "bad"),
        "val_loader": DataLoader(val, batch_size=120),
    }


def test(model, loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(1) == y).sum().item()
    return correct / len(loader.dataset)


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(1, 16):
        model.train()
        loss_sum = 0.0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item()
        print(f"Epoch {epoch}: train loss {loss_sum / len(p['train_loader']):.3f}, accuracy {test(model, p['val_loader']):.3f}")
    print(f"score: {test(model, p['val_loader']):.4f}")
