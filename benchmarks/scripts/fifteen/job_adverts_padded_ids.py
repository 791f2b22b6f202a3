"""Branch of trade from a job advert of up to 30 words, coded by a vocabulary of 3000 and padded; bad: the padded ids go as float numbers into nn.Linear, as one would do with the columns of a table; change: an embedding, averaged over the words, stands before the same layers."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

MAX_LEN = 30
VOCAB_SIZE = 3000
BRANCHES = ["care", "building", "software", "kitchen", "transport"]


def load_adverts(n, seed):
    vocab_rng = np.random.default_rng(5)
    special = vocab_rng.permutation(np.arange(2, VOCAB_SIZE))[:250].reshape(5, 50)
    rng = np.random.default_rng(seed)
    ids = np.zeros((n, MAX_LEN), dtype=np.int64)
    target = rng.integers(0, len(BRANCHES), n)
    for i in range(n):
        length = rng.integers(12, MAX_LEN + 1)
        common = 2 + (rng.pareto(1.0, length) * 20).astype(int) % (VOCAB_SIZE - 2)
        own = rng.choice(special[target[i]], length)
        ids[i, :length] = np.where(rng.random(length) < 0.35, own, common)
    return ids, target


class AdvertNet(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(MAX_LEN, 128), nn.ReLU(),
            nn.Linear(128, 64), nn.ReLU(),
            nn.Linear(64, n_classes))

    def forward(self, ids):
        return self.model(ids.float())


class AdvertEmbeddingNet(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.embedding = nn.EmbeddingBag(VOCAB_SIZE, 32, mode="mean", padding_idx=0)
        self.model = nn.Sequential(
            nn.Linear(32, 128), nn.ReLU(),
            nn.Linear(128, 64), nn.ReLU(),
            nn.Linear(64, n_classes))

    def forward(self, ids):
        return self.model(self.embedding(ids))


def parts(variant):
    torch.manual_seed(0)
    train_ids, train_y = load_adverts(3000, 1)
    valid_ids, valid_y = load_adverts(500, 2)
    net = AdvertNet(len(BRANCHES)) if variant == "bad" else AdvertEmbeddingNet(len(BRANCHES))
    return {
        "model": net,
        "loss_fn": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(net.parameters(), lr=2e-3),
        "train_loader": DataLoader(TensorDataset(torch.from_numpy(train_ids), torch.from_numpy(train_y)), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(torch.from_numpy(valid_ids), torch.from_numpy(valid_y)), batch_size=128),
    }


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, criterion, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    for epoch in range(1, 11):
        net.train()
        running = []
        for ids, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(net(ids), y)
            loss.backward()
            optimizer.step()
            running.append(loss.item())
        net.eval()
        oof = []
        with torch.no_grad():
            for ids, y in p["val_loader"]:
                oof.append((net(ids).argmax(1) == y).float())
        score = torch.cat(oof).mean().item()
        print(f"epoch {epoch:2d} | train loss {np.mean(running):.4f} | valid acc {score:.4f}")
    print(f"score: {score:.4f}")
