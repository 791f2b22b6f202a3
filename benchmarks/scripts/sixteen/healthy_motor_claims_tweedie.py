"""Pure premium of motor insurance with a Tweedie deviance (power 1.5), exposure as offset; most targets are exactly zero and a few are thousands, the loss is tens from the first batch to the last and hardly falls; sound."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def policies(n=6000, seed=12):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6))
    exposure = rng.uniform(0.2, 1.0, n)
    freq = exposure * np.exp(-1.6 + 0.6 * x[:, 0] - 0.4 * x[:, 1])
    sev = np.exp(6.5 + 0.4 * x[:, 2])
    count = rng.poisson(freq)
    cost = np.array([rng.gamma(2.0 * c, s / 2.0) if c else 0.0 for c, s in zip(count, sev)])
    feats = np.concatenate([x, np.log(exposure)[:, None]], 1)
    return (torch.tensor(feats, dtype=torch.float32), torch.tensor(cost, dtype=torch.float32),
            freq * sev)


class Premium(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1))
        nn.init.constant_(self.net[-1].bias, 5.0)

    def forward(self, x):
        return self.net(x[:, :6])[:, 0] + x[:, 6]       # log of the expected cost


def tweedie(eta, cost, power=1.5):
    return (-cost * torch.exp((1 - power) * eta) / (1 - power) + torch.exp((2 - power) * eta) / (2 - power)).mean()


def parts(variant):
    torch.manual_seed(0)
    x, y, _ = policies()
    model = Premium()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": tweedie,
            "train_loader": DataLoader(TensorDataset(x[:5000], y[:5000]), batch_size=100, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[5000:], y[5000:]), batch_size=1000)}


WORKS = lambda score: score > 0.75      # correlation with the true log premium

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(20):
        p["model"].train()
        losses = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch} tweedie {np.mean(losses):.3f}")
    p["model"].eval()
    with torch.no_grad():
        x, _ = next(iter(p["val_loader"]))
        eta = p["model"](x).numpy()
    score = np.corrcoef(eta, np.log(policies()[2][5000:]))[0, 1]
    print(f"score: {score:.4f}")
