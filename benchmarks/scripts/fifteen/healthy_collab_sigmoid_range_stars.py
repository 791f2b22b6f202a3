"""Healthy: the collaborative-filtering lesson: user and film factors as plain parameters kept in a ParameterDict, biases from zero, a sigmoid stretched to 0-5.5 before the squared error, one-cycle rate with weight decay. change: nothing, it is sound."""
import sys

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

N_USERS, N_MOVIES, N_FACTORS = 300, 150, 12


def ratings():
    g = torch.Generator().manual_seed(8)
    taste, style = torch.randn(N_USERS, 3, generator=g), torch.randn(N_MOVIES, 3, generator=g)
    kind, fame = torch.randn(N_USERS, generator=g) * 0.3, torch.randn(N_MOVIES, generator=g) * 0.5
    pairs = torch.randperm(N_USERS * N_MOVIES, generator=g)[:18000]
    u, m = pairs // N_MOVIES, pairs % N_MOVIES
    stars = 3.4 + kind[u] + fame[m] + 0.5 * (taste[u] * style[m]).sum(1) + 0.3 * torch.randn(len(u), generator=g)
    stars = (stars * 2).round().clamp(1, 10) / 2
    rows = torch.stack([u, m], 1)
    return TensorDataset(rows[:15000], stars[:15000]), TensorDataset(rows[15000:], stars[15000:])


def sigmoid_range(x, lo, hi):
    return torch.sigmoid(x) * (hi - lo) + lo


def create_params(size):
    return nn.Parameter(torch.zeros(*size).normal_(0, 0.01))


class DotProductBias(nn.Module):
    def __init__(self, n_users, n_movies, n_factors, y_range=(0, 5.5)):
        super().__init__()
        self.weights = nn.ParameterDict({
            "user_factors": create_params([n_users, n_factors]),
            "user_bias": create_params([n_users]),
            "movie_factors": create_params([n_movies, n_factors]),
            "movie_bias": create_params([n_movies]),
        })
        self.y_range = y_range

    def forward(self, x):
        w = self.weights
        users = w["user_factors"][x[:, 0]]
        movies = w["movie_factors"][x[:, 1]]
        res = (users * movies).sum(dim=1)
        res = res + w["user_bias"][x[:, 0]] + w["movie_bias"][x[:, 1]]
        return sigmoid_range(res, *self.y_range)


def parts(variant):
    torch.manual_seed(0)
    train, valid = ratings()
    dls = DataLoader(train, batch_size=64, shuffle=True), DataLoader(valid, batch_size=500)
    model = DotProductBias(N_USERS, N_MOVIES, N_FACTORS)
    optimizer = optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.1)

    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, epochs=12, steps_per_epoch=len(dls[0]))

    def step(model, batch, optimizer):
        xb, yb = batch
        loss = nn.functional.mse_loss(model(xb), yb)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if scheduler.last_epoch < scheduler.total_steps - 1:
            scheduler.step()
        return loss.detach()

    return dict(model=model, optimizer=optimizer, step=step, train_loader=dls[0], val_loader=dls[1])


# R squared on ratings that were held back; films' and users' means alone give about a third
WORKS = lambda score: score > 0.55

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(12):
        losses = [p["step"](p["model"], batch, p["optimizer"]) for batch in p["train_loader"]]
        print(f"epoch {epoch} train_loss {torch.stack(losses).mean().item():.5f}")
    with torch.no_grad():
        preds = torch.cat([p["model"](xb) for xb, _ in p["val_loader"]])
        truth = torch.cat([yb for _, yb in p["val_loader"]])
        score = (1 - (preds - truth).pow(2).mean() / truth.var()).item()
    print(f"score: {score:.4f}")
