"""Particle jets (12 summary variables, five kinds), an MLP of eight hidden layers under Adam; bad: nn.Sigmoid after every hidden layer, so that the gradient vanishes on the way down and the net never gets beyond two or three coarse groups; change: nn.ReLU."""
import sys

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

KINDS = ["gluon", "quark", "W", "Z", "top"]


def simulate_jets(n, rng):
    kind = rng.randint(0, 5, n)
    mass = np.array([20.0, 15.0, 80.4, 91.2, 173.0])[kind] * np.exp(0.12 * rng.randn(n))
    pt = rng.uniform(800, 1200, n)
    prongs = np.array([1, 1, 2, 2, 3])[kind]
    multiplicity = rng.poisson(np.array([45, 28, 32, 32, 50])[kind])
    tau21 = np.clip(np.array([0.75, 0.7, 0.35, 0.35, 0.5])[kind] + 0.12 * rng.randn(n), 0.02, 1)
    tau32 = np.clip(np.array([0.8, 0.8, 0.75, 0.75, 0.45])[kind] + 0.1 * rng.randn(n), 0.02, 1)
    width = mass / pt * np.exp(0.2 * rng.randn(n))
    ptd = 1 / np.sqrt(multiplicity + 1) * np.exp(0.15 * rng.randn(n))
    c2 = 0.05 * prongs + 0.03 * rng.randn(n)
    eta, phi = rng.uniform(-2, 2, n), rng.uniform(-np.pi, np.pi, n)
    charge = rng.randn(n) + np.array([0, 0.6, 0.4, 0, 0.3])[kind]
    energy = pt * np.cosh(eta)
    return np.stack([np.log(mass), pt, multiplicity, tau21, tau32, width, ptd, c2, eta, phi, charge, energy], 1), kind


def make_net(sizes, activation):
    layers = []
    for a, b in zip(sizes[:-2], sizes[1:-1]):
        layers += [nn.Linear(a, b), activation()]
    layers.append(nn.Linear(sizes[-2], sizes[-1]))
    return nn.Sequential(*layers)


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.RandomState(5)
    x, y = simulate_jets(5000, rng)
    scaler = StandardScaler().fit(x[:4000])
    x = torch.tensor(scaler.transform(x), dtype=torch.float32)
    y = torch.tensor(y)
    net = make_net([12, 64, 64, 64, 64, 48, 48, 32, 32, 5], nn.Sigmoid if variant == "bad" else nn.ReLU)
    return {
        "model": net,
        "optimizer": optim.Adam(net.parameters(), lr=1e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(x[:4000], y[:4000]), batch_size=100, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[4000:], y[4000:]), batch_size=500),
    }


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt, ce = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(20):
        sums = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            out = net(x)
            loss = ce(out, y)
            loss.backward()
            opt.step()
            sums += loss.item()
        if epoch % 2 == 1:
            print("epoch", epoch + 1, "loss %.4f" % (sums / len(p["train_loader"])))
    with torch.no_grad():
        acc = [(net(x).argmax(1) == y).float().mean().item() for x, y in p["val_loader"]]
    score = float(np.mean(acc))
    print(f"score: {score:.4f}")
