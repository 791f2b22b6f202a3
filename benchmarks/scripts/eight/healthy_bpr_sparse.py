"""No mistake: implicit-feedback BPR with sparse embeddings and SparseAdam; starts at ln 2 from tiny embeddings and leaves it slowly; negatives drawn in the step; change: nothing."""
import argparse
import numpy as np
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score > 0.8      # AUC of each user's held-out item against unseen items
USERS, ITEMS = 400, 600


def interactions(seed=0):
    rng = np.random.default_rng(seed)
    taste, genre = rng.integers(0, 8, USERS), rng.integers(0, 8, ITEMS)
    logits = 3.6 * (taste[:, None] == genre[None]) + rng.normal(0, .6, ITEMS)[None]
    prob = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    seen = np.stack([rng.choice(ITEMS, 21, replace=False, p=p) for p in prob])
    return torch.from_numpy(seen[:, :20]), torch.from_numpy(seen[:, 20])


class BPR(nn.Module):
    def __init__(self, k=16):
        super().__init__()
        self.user = nn.Embedding(USERS, k, sparse=True)
        self.item = nn.Embedding(ITEMS, k, sparse=True)
        nn.init.normal_(self.user.weight, std=0.01)
        nn.init.normal_(self.item.weight, std=0.01)

    def forward(self, u, i):
        return (self.user(u) * self.item(i)).sum(-1)


def bpr_step(model, batch):
    u, pos = batch
    neg = torch.randint(0, ITEMS, pos.shape)
    return -F.logsigmoid(model(u, pos) - model(u, neg)).mean()


def parts(variant):
    torch.manual_seed(12)
    train, _ = interactions()
    u = torch.arange(USERS)[:, None].expand_as(train)
    model = BPR()
    return {"model": model, "optimizer": torch.optim.SparseAdam(list(model.parameters()), lr=2e-3),
            "train_loader": DataLoader(TensorDataset(u.flatten(), train.flatten()), batch_size=128, shuffle=True),
            "training_step": bpr_step}


@torch.no_grad()
def auc(model):
    train, test = interactions()
    scores = model.user.weight @ model.item.weight.T
    pos = scores.gather(1, test[:, None])
    scores = scores.scatter(1, train, float("nan")).scatter(1, test[:, None], float("nan"))
    better = (pos > scores).float()
    return (better[~scores.isnan()]).mean().item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=30)
    args = ap.parse_args()
    p = parts(args.variant)
    for epoch in range(args.epochs):
        total = 0.0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        if epoch % 3 == 0 or epoch == args.epochs - 1:
            print(f"epoch {epoch:2d} bpr {total / len(p['train_loader']):.4f} auc {auc(p['model']):.4f}")
    print(f"score: {auc(p['model']):.4f}")
