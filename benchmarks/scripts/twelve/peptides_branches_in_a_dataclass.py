"""Do two peptides bind: a shared-design network of two branches and a joint head, AdamW; for tidiness the branches were moved into a dataclass that is no nn.Module, so model.parameters() knows of the head alone; change: the branches are set on the module itself."""
import sys
from dataclasses import dataclass
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

ACIDS, LENGTH, GROUPS = 20, 7, 4


class Pairs(Dataset):
    """A pair binds where the anchor groups (positions 2, 6) of the two complement each other."""
    def __init__(self, n, seed):
        group = np.random.default_rng(3).permutation(ACIDS) % GROUPS
        rng = np.random.default_rng(seed)
        a, b = rng.integers(0, ACIDS, (2, n, LENGTH))
        y = np.arange(n) % 2
        for i in range(n):
            for p in (2, 6):
                fits = np.flatnonzero(group == GROUPS - 1 - group[a[i, p]])
                if y[i]:
                    b[i, p] = rng.choice(fits)
            if not y[i] and all(group[b[i, p]] == GROUPS - 1 - group[a[i, p]] for p in (2, 6)):
                b[i, 2] = rng.choice(np.flatnonzero(group != GROUPS - 1 - group[a[i, 2]]))
        self.x, self.y = torch.from_numpy(np.stack([a, b], 1)), torch.from_numpy(y).float()

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def branch(width, out):
    return nn.Sequential(nn.Embedding(ACIDS, 8), nn.Flatten(), nn.Linear(8 * LENGTH, width), nn.ReLU(), nn.Linear(width, out))


@dataclass
class Branches:
    left: nn.Module
    right: nn.Module


class BindingNet(nn.Module):
    def __init__(self, dataclass_holder, width=64, out=32):
        super().__init__()
        if dataclass_holder:
            self.branches = Branches(left=branch(width, out), right=branch(width, out))
        else:
            self.branches = nn.ModuleDict({"left": branch(width, out), "right": branch(width, out)})
        self.head = nn.Linear(3 * out, 1)

    def pick(self, name):
        return self.branches[name] if isinstance(self.branches, nn.ModuleDict) else getattr(self.branches, name)

    def forward(self, pair):
        a, b = self.pick("left")(pair[:, 0]), self.pick("right")(pair[:, 1])
        return self.head(torch.cat([a, b, a * b], -1)).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    model = BindingNet(dataclass_holder=variant == "bad")
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02),
        "loss_fn": nn.BCEWithLogitsLoss(),
        "train_loader": DataLoader(Pairs(12000, 1), batch_size=64, shuffle=True),
        "val_loader": DataLoader(Pairs(1000, 2), batch_size=250),
    }


def run_epoch(model, loader, loss_fn, optimizer=None):
    model.train(optimizer is not None)
    hits = losses = n = 0
    with torch.set_grad_enabled(optimizer is not None):
        for x, y in loader:
            out = model(x)
            loss = loss_fn(out, y)
            if optimizer is not None:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            hits += ((out > 0) == (y > 0.5)).sum().item()
            losses += loss.item() * len(y)
            n += len(y)
    return losses / n, hits / n


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(10):
        train = run_epoch(p["model"], p["train_loader"], p["loss_fn"], p["optimizer"])
        val = run_epoch(p["model"], p["val_loader"], p["loss_fn"])
        print(f"epoch {epoch + 1}: train {train[0]:.3f} / {train[1]:.3f}, held-out {val[0]:.3f} / {val[1]:.3f}")
    print(f"score: {val[1]:.4f}")
