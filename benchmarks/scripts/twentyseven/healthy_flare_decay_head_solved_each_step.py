"""Variable projection: the brightness of a flare after ignition from its make-up. Odd, but right: the last layer is a buffer that no optimizer holds; every step solves it by ridge least squares on the batch (the gradient runs through the solution), and Adam moves only the features beneath; after each epoch the layer is solved once on the whole training set. Score: held-out R2."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
FEATURES, RIDGE = 24, 1e-3


def burn_flares(n, seed):
    rng = np.random.default_rng(seed)
    magnesium, nitrate, binder = rng.dirichlet([6, 5, 2], n).T
    grain, wind, seconds = rng.uniform(20, 120, n), rng.gamma(2, 2, n), rng.uniform(0, 30, n)
    rate = 0.02 + 0.25 * magnesium * nitrate + 0.01 * wind / np.sqrt(grain / 20)
    bright = 4 * magnesium * np.exp(-rate * seconds) * (1 - 0.6 * binder) + 0.4 * np.sin(0.3 * seconds) * magnesium
    x = np.column_stack([magnesium, nitrate, binder, np.log(grain), np.log1p(wind), seconds])
    return x, bright + 0.06 * rng.standard_normal(n)


class SeparableNet(nn.Module):
    def __init__(self, n_in, hidden=64):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(n_in, hidden), nn.Tanh(), nn.Linear(hidden, FEATURES), nn.Tanh())
        self.register_buffer("head", torch.zeros(FEATURES + 1, 1))

    def basis(self, x):
        return torch.cat([self.features(x), torch.ones(len(x), 1)], 1)

    def forward(self, x):
        return (self.basis(x) @ self.head).squeeze(1)


def solve_head(phi, y):
    gram = phi.T @ phi / len(phi) + RIDGE * torch.eye(phi.size(1))
    return torch.linalg.solve(gram, phi.T @ y[:, None] / len(phi))


def training_step(model, batch):
    x, y = batch
    phi = model.basis(x)
    head = solve_head(phi, y)
    model.head.copy_(head.detach())
    return (phi @ head - y[:, None]).pow(2).mean() + RIDGE * head.pow(2).sum()


@torch.no_grad()
def fit_head(model, dataset):
    x, y = dataset.tensors
    model.head.copy_(solve_head(model.basis(x), y))


def r2(pred, y):
    return 1 - ((pred - y).pow(2).sum() / (y - y.mean()).pow(2).sum()).item()


def parts(variant):
    torch.manual_seed(27)
    (x, y), (xv, yv) = burn_flares(4000, 1), burn_flares(800, 2)
    mx, sx, my, sy = x.mean(0), x.std(0), y.mean(), y.std()
    x, y, xv, yv = [torch.tensor(a, dtype=torch.float32) for a in ((x - mx) / sx, (y - my) / sy, (xv - mx) / sx, (yv - my) / sy)]
    model = SeparableNet(x.shape[1])
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "training_step": training_step, "metric": r2,
            "train_loader": DataLoader(TensorDataset(x, y), batch_size=400, shuffle=True),
            "val_loader": DataLoader(TensorDataset(xv, yv), batch_size=800)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(40):
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            p["optimizer"].step()
        fit_head(p["model"], p["train_loader"].dataset)
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](x), y)
        if epoch % 10 == 9:
            print(f"epoch {epoch}: projected loss {loss.item():.4f} R2 {score:.3f}")
    print("score:", score)
