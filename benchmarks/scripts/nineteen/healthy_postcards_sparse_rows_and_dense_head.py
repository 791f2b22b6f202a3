"""Sound: click model with sparse embeddings of 3000 collectors (most rows are seen a few times or never) under SparseAdam, and a dense head under Adam: two optimizers [sparse, dense]. change: none."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader, TensorDataset

USERS, CARDS = 3000, 120


def visits(n, seed):
    world = np.random.RandomState(7)
    taste, kind = world.normal(0, 1, (USERS, 3)), world.normal(0, 1, (CARDS, 3))
    r = np.random.RandomState(seed)
    u = np.minimum(r.zipf(1.3, n) - 1, USERS - 1)
    c = r.randint(0, CARDS, n)
    y = r.rand(n) < 1 / (1 + np.exp(-1.8 * (taste[u] * kind[c]).sum(1)))
    return TensorDataset(torch.tensor(np.stack([u, c], 1)), torch.tensor(y, dtype=torch.float32))


class ClickModel(nn.Module):
    def __init__(self, dim=12):
        super().__init__()
        self.user = nn.Embedding(USERS, dim, sparse=True)
        self.card = nn.Embedding(CARDS, dim, sparse=True)
        self.head = nn.Sequential(nn.Linear(3 * dim, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, pair):
        u, c = self.user(pair[:, 0]), self.card(pair[:, 1])
        return self.head(torch.cat([u, c, u * c], 1)).squeeze(1)


def step(model, batch, optimizers):
    pair, clicked = batch
    for opt in optimizers:
        opt.zero_grad()
    loss = F.binary_cross_entropy_with_logits(model(pair), clicked)
    loss.backward()
    for opt in optimizers:
        opt.step()
    return loss


def parts(variant):
    torch.manual_seed(0)
    model = ClickModel()
    optimizers = [torch.optim.SparseAdam(list(model.user.parameters()) + list(model.card.parameters()), lr=5e-3),
                  torch.optim.Adam(model.head.parameters(), lr=2e-3)]
    return {"model": model, "optimizer": optimizers, "step": step,
            "train_loader": DataLoader(visits(20000, 0), batch_size=100, shuffle=True),
            "val_loader": DataLoader(visits(3000, 1), batch_size=500)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(8):
        model.train()
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        model.eval()
        with torch.no_grad():
            auc = roc_auc_score(torch.cat([y for _, y in p["val_loader"]]), torch.cat([model(x) for x, _ in p["val_loader"]]))
        print(f"epoch {epoch}: loss {np.mean(losses):.4f} auc {auc:.4f}")
    print(f"score: {auc:.4f}")
