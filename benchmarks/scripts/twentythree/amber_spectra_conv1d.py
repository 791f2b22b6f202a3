"""1-D convolutional classifier of amber by its infrared spectrum. The training spectra are standardised with their mean and standard deviation, the validation spectra go in as they come from the instrument, so validation stays poor while training accuracy is 1; the right change: the same mean and standard deviation for both."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
ORIGINS = ["baltic", "dominican", "burmese", "copal"]
PEAKS = [[20, 52, 70], [24, 52, 80], [20, 45, 80], [24, 45, 70]]


def measure(n, seed):
    """Absorbance counts of the instrument, 96 wave numbers."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, n)
    w = np.arange(96)
    spectra = np.empty((n, 96))
    for i, k in enumerate(y):
        s = sum(rng.uniform(0.6, 1.4) * np.exp(-((w - c - rng.normal(0, 1)) / 2.5) ** 2) for c in PEAKS[k])
        spectra[i] = 900 + 250 * s + rng.normal(0, 60, 96) + rng.normal(0, 40)
    return spectra, y


class SpectraDataset(Dataset):
    def __init__(self, spectra, labels, mean=None, std=None):
        if mean is not None:
            spectra = (spectra - mean) / std
        self.x = torch.tensor(spectra, dtype=torch.float32).unsqueeze(1)
        self.y = torch.tensor(labels)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class SpectraNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, 16, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(32 * 24, 48), nn.ReLU(), nn.Dropout(0.3), nn.Linear(48, 4))

    def forward(self, x):
        return self.head(self.body(x))


def parts(variant):
    torch.manual_seed(0)
    xs, ys = measure(900, 0)
    xv, yv = measure(300, 1)
    mean, std = xs.mean(), xs.std()
    train_set = SpectraDataset(xs, ys, mean, std)
    val_set = SpectraDataset(xv, yv) if variant == "bad" else SpectraDataset(xv, yv, mean, std)
    model = SpectraNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(train_set, batch_size=32, shuffle=True),
            "val_loader": DataLoader(val_set, batch_size=100)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(8):
        model.train()
        ok = 0
        for x, y in p["train_loader"]:
            out = model(x)
            loss = p["loss_fn"](out, y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            ok += (out.argmax(1) == y).sum().item()
        model.eval()
        val_ok = 0
        with torch.no_grad():
            for x, y in p["val_loader"]:
                val_ok += (model(x).argmax(1) == y).sum().item()
        print(f"epoch {epoch}: train acc {ok / 900:.3f} val acc {val_ok / 300:.3f}")
    print("score:", val_ok / 300)
