"""Short-message spam filter: words hashed into 20,000 rows of an EmbeddingBag with sparse gradients under SparseAdam, the dense part under Adam, both stepped in `step`; most rows of the table are never touched, collisions share rows; sound."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

ROWS = 20_000


def hashed(word):
    return (word * 2654435761) % ROWS


def messages(n=2000, seed=19):
    rng = np.random.default_rng(seed)
    zipf = 1 / np.arange(1, 1501)
    zipf /= zipf.sum()
    out = []
    for _ in range(n):
        spam = int(rng.random() < 0.35)
        words = rng.choice(1500, size=rng.integers(4, 25), p=zipf)
        tell = rng.random(len(words)) < 0.2
        words[tell] = 2000 + 60 * spam + rng.integers(0, 60, tell.sum())
        out.append((torch.tensor([hashed(int(w)) for w in words]), float(spam)))
    return out


def collate(rows):
    texts, labels = zip(*rows)
    starts = torch.tensor([0] + [len(t) for t in texts[:-1]]).cumsum(0)
    return torch.cat(texts), starts, torch.tensor(labels)


class SpamNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.EmbeddingBag(ROWS, 16, mode="mean", sparse=True)
        self.dense = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
        nn.init.normal_(self.table.weight, std=0.1)

    def forward(self, words, starts):
        return self.dense(self.table(words, starts))[:, 0]


class Both:
    """Two optimizers that are stepped together."""
    def __init__(self, *optimizers):
        self.optimizers = optimizers
        self.param_groups = [g for o in optimizers for g in o.param_groups]

    def zero_grad(self):
        for o in self.optimizers:
            o.zero_grad()

    def step(self):
        for o in self.optimizers:
            o.step()


def step(model, batch, optimizer):
    words, starts, labels = batch
    optimizer.zero_grad()
    loss = F.binary_cross_entropy_with_logits(model(words, starts), labels)
    loss.backward()
    optimizer.step()
    return loss


def parts(variant):
    torch.manual_seed(0)
    rows = messages()
    model = SpamNet()
    optimizer = Both(torch.optim.SparseAdam(list(model.table.parameters()), lr=1e-2),
                     torch.optim.Adam(model.dense.parameters(), lr=2e-3))
    return {"model": model, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(rows[:1600], batch_size=40, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(rows[1600:], batch_size=400, collate_fn=collate)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(12):
        p["model"].train()
        losses = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        p["model"].eval()
        with torch.no_grad():
            words, starts, labels = next(iter(p["val_loader"]))
            acc = ((p["model"](words, starts) > 0) == (labels > 0.5)).float().mean().item()
        print(f"epoch {epoch} loss {np.mean(losses):.4f} acc {acc:.3f}")
    print(f"score: {acc:.4f}")
