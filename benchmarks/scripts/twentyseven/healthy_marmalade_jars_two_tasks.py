"""A shared convolutional trunk reads near-infrared spectra of marmalade jars and has two heads: the fruit (five kinds) and the sugar content. Nothing odd: cross entropy plus squared error of the standardised sugar, NAdam; the score is the mean of held-out accuracy and R2."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
FRUITS, CHANNELS = 5, 64


def measure(n, seed):
    rng = np.random.default_rng(seed)
    bands = np.linspace(0, 1, CHANNELS)
    fruit, sugar = rng.integers(0, FRUITS, n), rng.normal(62, 5, n)
    centres = np.array([[0.2, 0.7], [0.25, 0.55], [0.35, 0.8], [0.15, 0.6], [0.4, 0.65]])[fruit]
    peaks = sum(np.exp(-((bands - centres[:, [k]] - 0.01 * rng.standard_normal((n, 1))) / 0.05) ** 2) for k in range(2))
    sweet = ((sugar - 62) / 5)[:, None] * 0.3 * np.exp(-((bands - 0.9) / 0.06) ** 2)
    scatter = rng.normal(1, 0.1, (n, 1)) + rng.normal(0, 0.3, (n, 1)) * bands
    spectra = 0.6 * peaks + sweet + scatter + 0.12 * rng.standard_normal((n, CHANNELS))
    return spectra.astype(np.float32), fruit, sugar.astype(np.float32)


class Jars(Dataset):
    def __init__(self, n, seed, stats=None):
        self.spectra, self.fruit, sugar = measure(n, seed)
        self.stats = stats or (self.spectra.mean(0), self.spectra.std(), sugar.mean(), sugar.std())
        m, s, sm, ss = self.stats
        self.spectra, self.sugar = (self.spectra - m) / s, (sugar - sm) / ss

    def __len__(self):
        return len(self.fruit)

    def __getitem__(self, i):
        return {"spectrum": torch.from_numpy(self.spectra[i]), "fruit": int(self.fruit[i]), "sugar": torch.tensor(self.sugar[i])}


class JarNet(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv1d(1, width, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
                                   nn.Conv1d(width, 2 * width, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
                                   nn.Flatten(), nn.Linear(2 * width * CHANNELS // 4, 48), nn.ReLU())
        self.fruit, self.sugar = nn.Linear(48, FRUITS), nn.Linear(48, 1)

    def forward(self, spectrum):
        h = self.trunk(spectrum.unsqueeze(1))
        return self.fruit(h), self.sugar(h).squeeze(1)


def training_step(model, batch):
    fruit, sugar = model(batch["spectrum"])
    return F.cross_entropy(fruit, batch["fruit"]) + F.mse_loss(sugar, batch["sugar"])


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    rows = [(*model(b["spectrum"]), b["fruit"], b["sugar"]) for b in loader]
    fruit, sugar, fruit_true, sugar_true = (torch.cat(c) for c in zip(*rows))
    accuracy = (fruit.argmax(1) == fruit_true).float().mean().item()
    r2 = 1 - ((sugar - sugar_true).pow(2).sum() / (sugar_true - sugar_true.mean()).pow(2).sum()).item()
    model.train()
    return accuracy, r2


def parts(variant):
    torch.manual_seed(20)
    train = Jars(1500, 1)
    held = Jars(400, 2, train.stats)
    model = JarNet()
    return {"model": model, "optimizer": torch.optim.NAdam(model.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(train, batch_size=50, shuffle=True), "val_loader": DataLoader(held, batch_size=200)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(10):
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            p["optimizer"].step()
        accuracy, r2 = evaluate(p["model"], p["val_loader"])
        print(f"epoch {epoch}: loss {loss.item():.3f} fruit {accuracy:.3f} sugar R2 {r2:.3f}")
    print("score:", (accuracy + r2) / 2)
