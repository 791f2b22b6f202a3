"""Recommender (guest and cocktail embeddings, an MLP on both) of the stars that guests of a bar give to cocktails. The training helper clips the gradients to a norm of 1e-3 before SGD steps of rate 0.1, so the weights hardly move and the prediction stays near the mean; the right change: a clip norm of the size of the gradients, such as 5.0."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.set_num_threads(1)
GUESTS, DRINKS = 300, 80


def bar_ledger(n=16000, seed=60):
    rng = np.random.default_rng(seed)
    taste = rng.normal(0, 1, (GUESTS, 3))
    recipe = rng.normal(0, 1, (DRINKS, 3))
    generous = rng.normal(0, 0.5, GUESTS)
    popular = rng.normal(0, 0.7, DRINKS)
    pairs = rng.choice(GUESTS * DRINKS, n, replace=False)
    g, d = pairs // DRINKS, pairs % DRINKS
    stars = 3.2 + generous[g] + popular[d] + 0.55 * (taste[g] * recipe[d]).sum(1) + rng.normal(0, 0.3, n)
    return np.stack([g, d], 1), np.clip(stars, 0.5, 6).astype(np.float32)


class BarNCF(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.guest = nn.Embedding(GUESTS, dim)
        self.drink = nn.Embedding(DRINKS, dim)
        self.mlp = nn.Sequential(nn.Linear(3 * dim, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
        for table in (self.guest, self.drink):
            nn.init.normal_(table.weight, std=0.3)

    def forward(self, pair):
        g, d = self.guest(pair[:, 0]), self.drink(pair[:, 1])
        return self.mlp(torch.cat([g, d, g * d], 1)).squeeze(1)


class Trainer:
    def __init__(self, clip_norm):
        self.clip_norm = clip_norm
        self.loss = nn.MSELoss()

    def step(self, model, batch, optimizer):
        pair, stars = batch
        loss = self.loss(model(pair), stars)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=self.clip_norm)
        optimizer.step()
        return loss.detach()

    def r2(self, model, loader):
        model.eval()
        with torch.no_grad():
            out, y = map(torch.cat, zip(*[(model(p), s) for p, s in loader]))
        return 1 - ((out - y).pow(2).mean() / y.var()).item()


def parts(variant):
    torch.manual_seed(0)
    pairs, stars = bar_ledger()
    stars = (stars - stars.mean()) / stars.std()
    train, val = random_split(TensorDataset(torch.from_numpy(pairs), torch.from_numpy(stars)), [13600, 2400])
    trainer = Trainer(clip_norm=1e-3 if variant == "bad" else 5.0)
    model = BarNCF()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
            "step": trainer.step, "trainer": trainer,
            "train_loader": DataLoader(train, batch_size=64, shuffle=True),
            "val_loader": DataLoader(val, batch_size=400)}


WORKS = lambda score: score > 0.55


def main():
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(20):
        p["model"].train()
        losses = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        score = p["trainer"].r2(p["model"], p["val_loader"])
        print(f"epoch {epoch:2d} | train mse {np.mean(losses):.3f} | val R2 {score:.3f}")
    print("score:", score)


if __name__ == "__main__":
    main()
