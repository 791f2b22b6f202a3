"""Autoencoder of weather balloon soundings. The profiles are standardised (about -3 to 3) but the decoder ends in Sigmoid, as in the tutorials with pixels, so that it cannot give anything below 0 or above 1; the right change: a linear output."""
import sys

import numpy as np
import torch
import torch.nn as nn
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


def soundings(n, rng):
    h = np.linspace(0, 1, 40)
    surface, lapse = rng.normal(15, 8, (n, 1)), rng.normal(55, 8, (n, 1))
    inv_h, inv = rng.uniform(0.1, 0.6, (n, 1)), rng.gamma(2, 2, (n, 1))
    temp = surface - lapse * h + inv * np.exp(-((h - inv_h) / 0.15) ** 2)
    return temp + rng.normal(0, 0.5, temp.shape)


class SoundingDataset(Dataset):
    def __init__(self, profiles):
        self.profiles = torch.tensor(profiles, dtype=torch.float32)

    def __len__(self):
        return len(self.profiles)

    def __getitem__(self, i):
        return self.profiles[i], self.profiles[i]


class AutoEncoder(nn.Module):
    def __init__(self, last):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 5))
        self.decoder = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 40), *last)

    def forward(self, x):
        return self.decoder(self.encoder(x))


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    train, val = soundings(1500, rng), soundings(400, rng)
    sc = StandardScaler().fit(train)
    model = AutoEncoder([nn.Sigmoid()] if variant == "bad" else [])
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(SoundingDataset(sc.transform(train)), batch_size=50, shuffle=True),
            "val_loader": DataLoader(SoundingDataset(sc.transform(val)), batch_size=200)}


WORKS = lambda score: score < 0.15

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    ae = p["model"]
    for epoch in range(20):
        ae.train()
        train_loss = []
        for x, target in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](ae(x), target)
            loss.backward()
            p["optimizer"].step()
            train_loss.append(loss.item())
        ae.eval()
        with torch.no_grad():
            val = np.mean([p["loss_fn"](ae(x), t).item() for x, t in p["val_loader"]])
        print(f"epoch {epoch}: train {np.mean(train_loss):.4f} val {val:.4f}")
    print("score:", val)
