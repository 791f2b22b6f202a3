"""1-D convolutional embedding of ship horn spectra trained with TripletMarginLoss on unit vectors; tested by nearest-neighbour identification of ships that were never in training. Sound: anchor and positive from the same ship, negative from another, drawn afresh in each epoch."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


class Horns:
    """each ship has a few partials; every recording has its own gain, tilt and noise"""
    def __init__(self, ships, seed):
        rng = np.random.default_rng(seed)
        self.pos = rng.uniform(8, 88, (ships, 4))
        self.amp = rng.uniform(0.6, 1.4, (ships, 4))

    def record(self, ship, rng):
        f = np.arange(96)
        s = sum(a * np.exp(-((f - q - rng.normal(0, 0.5)) / 2.0) ** 2) for a, q in zip(self.amp[ship], self.pos[ship]))
        s = s * rng.uniform(0.6, 1.5) + rng.normal(0, 0.3) * np.linspace(-1, 1, 96) + rng.normal(0, 0.2, 96)
        s = (s - s.mean()) / s.std()
        return torch.tensor(s, dtype=torch.float32)[None]


class Triplets(Dataset):
    def __init__(self, horns, ships, per_ship=16, seed=0):
        rng = np.random.default_rng(seed)
        self.rec = [[horns.record(s, rng) for _ in range(per_ship)] for s in range(ships)]
        self.ships, self.per = ships, per_ship

    def __len__(self):
        return self.ships * self.per

    def __getitem__(self, i):
        ship, k = divmod(i, self.per)
        other = (k + int(torch.randint(1, self.per, (1,)))) % self.per
        neg_ship = (ship + int(torch.randint(1, self.ships, (1,)))) % self.ships
        neg = self.rec[neg_ship][int(torch.randint(self.per, (1,)))]
        return self.rec[ship][k], self.rec[ship][other], neg


class HornNet(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
            nn.Flatten(), nn.Linear(32 * 24, 64), nn.ReLU(), nn.Linear(64, dim))

    def forward(self, x):
        return F.normalize(self.body(x), dim=1)


criterion = nn.TripletMarginLoss(margin=0.5)


def training_step(model, batch):
    anchor, positive, negative = batch
    return criterion(model(anchor), model(positive), model(negative))


def parts(variant):
    torch.manual_seed(0)
    train = Triplets(Horns(60, 0), 60)
    model = HornNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(train, batch_size=48, shuffle=True)}


WORKS = lambda score: score > 0.93


def identify(model, ships=30):
    horns, rng = Horns(ships, 99), np.random.default_rng(99)
    gallery = torch.stack([horns.record(s, rng) for s in range(ships)])
    query = torch.stack([horns.record(s, rng) for s in range(ships) for _ in range(8)])
    truth = torch.arange(ships).repeat_interleave(8)
    model.eval()
    with torch.no_grad():
        near = (model(query) @ model(gallery).T).argmax(1)
    return (near == truth).float().mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    print("before training:", identify(model))
    for epoch in range(15):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1} triplet loss {total / len(p['train_loader']):.4f}")
    print("score:", identify(model))
