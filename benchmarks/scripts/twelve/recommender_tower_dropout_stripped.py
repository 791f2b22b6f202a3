"""Likes of users for films, both embedded, joined and fed to a tower; a helper that takes the dropout out of the tower keeps only layers that have parameters, so the ReLUs go too and user and film can no longer interact; change: it leaves out only nn.Dropout."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader, TensorDataset

USERS, FILMS = 240, 160


def likes():
    g = torch.Generator().manual_seed(11)
    u, v = torch.randn(USERS, 3, generator=g), torch.randn(FILMS, 3, generator=g)
    pair = torch.cartesian_prod(torch.arange(USERS), torch.arange(FILMS))
    pair = pair[torch.randperm(len(pair), generator=g)[:22000]]
    taste = (u[pair[:, 0]] * v[pair[:, 1]]).sum(1)
    y = (taste + 0.3 * torch.randn(len(taste), generator=g) > 0).float()
    return TensorDataset(pair[:20000], y[:20000]), TensorDataset(pair[20000:], y[20000:])


def make_tower(n_in, hidden, dropout):
    layers = []
    for h in hidden:
        layers += [nn.Linear(n_in, h), nn.ReLU(), nn.Dropout(dropout)]
        n_in = h
    return nn.Sequential(*layers, nn.Linear(n_in, 1))


def without_dropout(tower, variant):
    if variant == "bad":
        keep = [m for m in tower if any(True for _ in m.parameters())]
    else:
        keep = [m for m in tower if not isinstance(m, nn.Dropout)]
    return nn.Sequential(*keep)


class Recommender(nn.Module):
    def __init__(self, variant, dim=16):
        super().__init__()
        self.user, self.film = nn.Embedding(USERS, dim), nn.Embedding(FILMS, dim)
        self.tower = without_dropout(make_tower(2 * dim, (96, 48), dropout=0.2), variant)

    def forward(self, pair):
        z = torch.cat([self.user(pair[:, 0]), self.film(pair[:, 1])], dim=1)
        return self.tower(z).squeeze(1)


def auc(output, target):
    return float(roc_auc_score(target.numpy(), output.detach().numpy()))


def parts(variant):
    torch.manual_seed(0)
    model = Recommender(variant)
    train, val = likes()
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05),
        "loss_fn": F.binary_cross_entropy_with_logits,
        "train_loader": DataLoader(train, batch_size=128, shuffle=True),
        "val_loader": DataLoader(val, batch_size=2000),
        "metric": auc,
    }


def run_epoch(model, loader, loss_fn, optimizer):
    model.train()
    total = 0.0
    for pair, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(pair), y)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(8):
        loss = run_epoch(p["model"], p["train_loader"], p["loss_fn"], p["optimizer"])
        p["model"].eval()
        with torch.no_grad():
            pair, y = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](pair), y)
        print(f"epoch {epoch + 1}: loss {loss:.4f}  AUC {score:.3f}")
    print(f"score: {score:.4f}")
