"""Matrix factorisation for song plays with a BPR loss; bad draws the negative song from the user's own list of played songs; change: it is drawn from all songs that the user has not played."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

USERS, SONGS = 200, 150


def plays(seed=1):
    rng = np.random.default_rng(seed)
    u = rng.normal(size=(USERS, 6))
    s = rng.normal(size=(SONGS, 6))
    logits = u @ s.T + 0.5 * rng.gumbel(size=(USERS, SONGS))
    top = np.argsort(-logits, 1)[:, :30]
    train, held = [], []
    for i in range(USERS):
        songs = rng.permutation(top[i])
        train += [(i, j) for j in songs[:22]]
        held += [(i, j) for j in songs[22:]]
    return np.array(train), np.array(held)


class BprPairs(Dataset):
    def __init__(self, pairs, listed):
        self.pairs = torch.as_tensor(pairs)
        self.played = {u: pairs[pairs[:, 0] == u, 1] for u in range(USERS)}
        self.pool = {}
        for u in range(USERS):
            mask = np.isin(np.arange(SONGS), self.played[u])
            self.pool[u] = torch.as_tensor(np.flatnonzero(mask if listed else ~mask))

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        user, song = self.pairs[i]
        pool = self.pool[int(user)]
        other = pool[torch.randint(len(pool), (1,)).item()]
        return user, song, other


class Factors(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.user = nn.Embedding(USERS, dim)
        self.song = nn.Embedding(SONGS, dim)
        self.bias = nn.Embedding(SONGS, 1)
        nn.init.normal_(self.user.weight, std=0.1)
        nn.init.normal_(self.song.weight, std=0.1)
        nn.init.zeros_(self.bias.weight)

    def forward(self, user, song):
        return (self.user(user) * self.song(song)).sum(1) + self.bias(song)[:, 0]


def training_step(model, batch):
    user, song, other = batch
    return -F.logsigmoid(model(user, song) - model(user, other)).mean()


def parts(variant):
    torch.manual_seed(0)
    train, held = plays()
    model = Factors()
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-5),
            "training_step": training_step,
            "train_loader": DataLoader(BprPairs(train, variant == "bad"), batch_size=128, shuffle=True),
            "val_loader": DataLoader(BprPairs(held, False), batch_size=512)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(25):
        total = 0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch} bpr loss {total / len(p['train_loader']):.4f}")
    train, held = plays()
    with torch.no_grad():
        scores = (model.user.weight @ model.song.weight.T + model.bias.weight[:, 0]).numpy()
    aucs = []
    for u in range(USERS):
        mine = held[held[:, 0] == u, 1]
        rest = np.setdiff1d(np.arange(SONGS), np.concatenate([mine, train[train[:, 0] == u, 1]]))
        aucs.append((scores[u, mine][:, None] > scores[u, rest][None]).mean())
    print(f"score: {np.mean(aucs):.4f}")
