"""Reads the log of a pigeon clock (rings, times of other visits, blanks) and says which of six pigeons was home first. The mistake: the wrong kind of layer, nn.EmbeddingBag, which averages the tokens and loses the order that the answer hangs on; the right change: nn.Embedding followed by a GRU."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
PIGEONS, OTHER, T = 6, 10, 12


def logs(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(PIGEONS, PIGEONS + OTHER, (n, T))
    y = np.zeros(n, dtype=np.int64)
    for i in range(n):
        birds = rng.permutation(PIGEONS)[:5]
        places = np.sort(rng.permutation(T)[:5])
        x[i, places] = birds
        y[i] = birds[0]
    return torch.from_numpy(x), torch.from_numpy(y)


class BagReader(nn.Module):
    def __init__(self, dim=64):
        super().__init__()
        self.emb = nn.EmbeddingBag(PIGEONS + OTHER, dim, mode="mean")
        self.fc = nn.Sequential(nn.Linear(dim, 64), nn.ReLU(), nn.Linear(64, PIGEONS))

    def forward(self, x):
        return self.fc(self.emb(x))


class LogReader(nn.Module):
    def __init__(self, dim=64):
        super().__init__()
        self.emb = nn.Embedding(PIGEONS + OTHER, 24)
        self.gru = nn.GRU(24, dim, batch_first=True)
        self.fc = nn.Sequential(nn.Linear(dim, 64), nn.ReLU(), nn.Linear(64, PIGEONS))

    def forward(self, x):
        _, h = self.gru(self.emb(x))
        return self.fc(h[-1])


def parts(variant):
    torch.manual_seed(1)
    X, y = logs(4000, 1)
    Xv, yv = logs(500, 2)
    net = BagReader() if variant == "bad" else LogReader()
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=4e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(X, y), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(Xv, yv), batch_size=500)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(7):
        net.train()
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            acc = np.mean([(net(x).argmax(1) == y).float().mean().item() for x, y in p["val_loader"]])
        print(f"epoch {epoch}: loss {np.mean(losses):.3f} acc {acc:.3f}")
    print("score:", acc)
