"""Recommender with the BPR loss; the score differences of the whole batch are summed before logsigmoid; change: the twin sums over the factors only and averages the losses."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

USERS, ITEMS, GENRES = 240, 160, 8


def listening(seed=11):
    g = torch.Generator().manual_seed(seed)
    genre = torch.randint(0, GENRES, (ITEMS,), generator=g)
    likes = torch.stack([torch.randperm(GENRES, generator=g)[:2] for _ in range(USERS)])
    liked = (genre[None, :, None] == likes[:, None, :]).any(-1)
    heard = torch.rand(USERS, ITEMS, generator=g) < torch.where(liked, 0.6, 0.02)
    held = heard & (torch.rand(USERS, ITEMS, generator=g) < 0.2)
    return heard & ~held, held, g


class Factors(nn.Module):
    def __init__(self, dim=12):
        super().__init__()
        self.user = nn.Embedding(USERS, dim)
        self.item = nn.Embedding(ITEMS, dim)

    def forward(self, u, i):
        return (self.user(u) * self.item(i)).sum(-1)


def triplets(seen, g, copies=3):
    u, p = seen.nonzero().T
    u, p = u.repeat(copies), p.repeat(copies)
    n = torch.randint(0, ITEMS, (len(u),), generator=g)
    keep = ~seen[u, n]
    return TensorDataset(u[keep], p[keep], n[keep])


def parts(variant):
    torch.manual_seed(0)
    seen, held, g = listening()
    model = Factors()

    def training_step(model, batch):
        users, pos, neg = batch
        u, p, n = model.user(users), model.item(pos), model.item(neg)
        if variant == "bad":
            x = torch.sum(torch.mul(u, p - n))
        else:
            x = torch.sum(torch.mul(u, p - n), dim=1)
        return torch.neg(F.logsigmoid(x)).mean()

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-2, weight_decay=1e-4),
            "training_step": training_step, "seen": seen, "held": held,
            "train_loader": DataLoader(triplets(seen, g), batch_size=256, shuffle=True)}


WORKS = lambda score: score > 0.8        # AUC of the held-out tracks


@torch.no_grad()
def auc(p):
    scores = p["model"].user.weight @ p["model"].item.weight.T
    values = []
    for u in range(USERS):
        a, b = scores[u][p["held"][u]], scores[u][~(p["held"][u] | p["seen"][u])]
        if len(a):
            values.append((a[:, None] > b[None]).float().mean())
    return torch.stack(values).mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(30):
        loss_sum = 0.0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            p["optimizer"].step()
            loss_sum += loss.item()
        if epoch % 2 == 1:
            print("epochs: {}/30 loss {:.4f} auc {:.3f}".format(epoch + 1, loss_sum / len(p["train_loader"]), auc(p)))
    print(f"score: {auc(p):.4f}")
