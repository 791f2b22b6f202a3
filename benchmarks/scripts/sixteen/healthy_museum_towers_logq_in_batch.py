"""Two-tower retrieval with the other items of the batch as negatives, corrected by log-popularity, temperature 0.07: a batch repeats popular items and masks such false negatives with -1e9, and the loss starts above the log of the batch size; sound."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

VISITORS, ROOMS = 300, 120


def visits(seed=15):
    rng = np.random.default_rng(seed)
    u, r = rng.normal(size=(VISITORS, 5)), rng.normal(size=(ROOMS, 5))
    pop = rng.normal(size=ROOMS)
    logits = 1.5 * u @ r.T + pop + rng.gumbel(size=(VISITORS, ROOMS))
    best = np.argsort(-logits, 1)[:, :20]
    train, test = [], []
    for i in range(VISITORS):
        order = rng.permutation(best[i])
        train += [(i, j) for j in order[:16]]
        test += [(i, j) for j in order[16:]]
    return torch.tensor(train), torch.tensor(test)


class Towers(nn.Module):
    def __init__(self, popularity, dim=24):
        super().__init__()
        self.visitor = nn.Sequential(nn.Embedding(VISITORS, 32), nn.Linear(32, dim))
        self.room = nn.Sequential(nn.Embedding(ROOMS, 32), nn.Linear(32, dim))
        self.register_buffer("logq", popularity.log())

    def forward(self, visitor, room):
        return F.normalize(self.visitor(visitor), dim=1) @ F.normalize(self.room(room), dim=1).T / 0.07


def training_step(model, batch):
    visitor, room = batch[0].unbind(1)
    logits = model(visitor, room) - model.logq[room][None]
    same = (room[None] == room[:, None]) & ~torch.eye(len(room), dtype=torch.bool)
    return F.cross_entropy(logits.masked_fill(same, -1e9), torch.arange(len(room)))


def parts(variant):
    torch.manual_seed(0)
    train, test = visits()
    pop = torch.bincount(train[:, 1], minlength=ROOMS).float() + 1
    model = Towers(pop / pop.sum())
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=1e-5),
            "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(train), batch_size=96, shuffle=True, drop_last=True),
            "val_loader": DataLoader(TensorDataset(test), batch_size=96, drop_last=True)}


WORKS = lambda score: score > 0.75      # AUC over rooms not seen with the visitor

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(40):
        total = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.3f}")
    train, test = (t.numpy() for t in visits())
    with torch.no_grad():
        s = model(torch.arange(VISITORS), torch.arange(ROOMS)).numpy()
    auc = []
    for u in range(VISITORS):
        mine = test[test[:, 0] == u, 1]
        rest = np.setdiff1d(np.arange(ROOMS), np.r_[mine, train[train[:, 0] == u, 1]])
        auc.append((s[u, mine][:, None] > s[u, rest]).mean())
    print(f"score: {np.mean(auc):.4f}")
