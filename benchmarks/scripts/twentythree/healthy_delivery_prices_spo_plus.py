"""Decision-focused learning: a network predicts costs of the cells of a 5x5 map and is trained with the SPO+ loss through a dynamic-programming shortest path (own autograd Function with the known subgradient). Unusual: the costs themselves need not be right, only the chosen routes; the score is the mean regret relative to the best route."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
G = 5


def best_route(cost):
    """batch of G x G costs (may be negative); right and down moves only; returns 0/1 masks and values"""
    c = cost.reshape(-1, G, G)
    n = len(c)
    val = np.full((n, G, G), np.inf)
    val[:, 0, 0] = c[:, 0, 0]
    for i in range(G):
        for j in range(G):
            if i or j:
                up = val[:, i - 1, j] if i else np.inf
                left = val[:, i, j - 1] if j else np.inf
                val[:, i, j] = c[:, i, j] + np.minimum(up, left)
    mask = np.zeros((n, G, G), dtype=np.float32)
    i = np.full(n, G - 1)
    j = np.full(n, G - 1)
    rows = np.arange(n)
    mask[rows, i, j] = 1
    for _ in range(2 * G - 2):
        up = np.where(i > 0, val[rows, i - 1, j], np.inf)
        left = np.where(j > 0, val[rows, i, j - 1], np.inf)
        go_up = up <= left
        i, j = np.where(go_up, i - 1, i), np.where(go_up, j, j - 1)
        mask[rows, i, j] = 1
    return mask.reshape(n, -1), val[:, -1, -1].astype(np.float32)


class SPOPlus(torch.autograd.Function):
    @staticmethod
    def forward(ctx, pred, cost, route, value):
        w, v = best_route((2 * pred - cost).detach().numpy())
        w = torch.from_numpy(w)
        ctx.save_for_backward(route - w)
        # max_w {(c - 2p) w} + 2 p w* - z*
        return -torch.from_numpy(v) + 2 * (pred * route).sum(1) - value

    @staticmethod
    def backward(ctx, grad):
        (diff,) = ctx.saved_tensors
        return 2 * diff * grad[:, None], None, None, None


def training_step(model, batch):
    x, cost, route, value = batch
    return SPOPlus.apply(model(x), cost, route, value).mean()


def days(n, B, rng):
    x = rng.normal(0, 1, (n, 6)).astype(np.float32)
    base = np.tanh(x @ B[:6]) + 0.7 * (x @ B[6:12]) * (x @ B[12:]) / 3
    cost = ((1.5 + base) * rng.uniform(0.85, 1.15, base.shape)).clip(0.1).astype(np.float32)
    route, value = best_route(cost)
    return TensorDataset(*(torch.from_numpy(a) for a in (x, cost, route, value)))


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    B = rng.normal(0, 0.6, (18, G * G))
    model = nn.Sequential(nn.Linear(6, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, G * G))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(days(4000, B, rng), batch_size=64, shuffle=True),
            "val_loader": DataLoader(days(500, B, rng), batch_size=500)}


WORKS = lambda score: score < 0.05


@torch.no_grad()
def regret(model, loader):
    lost = best = 0.0
    for x, cost, route, value in loader:
        chosen, _ = best_route(model(x).numpy())
        lost += ((torch.from_numpy(chosen) * cost).sum(1) - value).sum().item()
        best += value.sum().item()
    return lost / best


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    print("untrained:", regret(model, p["val_loader"]))
    for epoch in range(15):
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: spo+ {total / len(p['train_loader']):.3f}  regret {regret(model, p['val_loader']):.4f}")
    print("score:", regret(model, p["val_loader"]))
