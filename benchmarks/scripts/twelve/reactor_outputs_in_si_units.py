"""Surrogate of a reactor with four outputs in SI units (kelvin, pascal, conversion, cubic metres a second) under one squared error; only the inputs are standardised, so the loss is of the pascals alone, and of their offset; change: the outputs are standardised too."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

OUTPUTS = ["temperature_K", "pressure_Pa", "conversion", "flow_m3_s"]


def simulate(n, seed):
    rng = np.random.default_rng(seed)
    feed, jacket, residence, catalyst, valve = rng.uniform(size=(5, n))
    jacket_k = 320 + 120 * jacket
    rate = (0.2 + catalyst) * np.exp(3 * (jacket - 0.5))
    conversion = 1 - np.exp(-rate * (0.3 + residence))
    temperature = jacket_k + 60 * conversion * (0.5 + feed)
    pressure = 2.0e5 + 3.0e5 * conversion * (1.2 - valve) + 1e5 * feed ** 2
    flow = 4e-4 * (0.2 + valve) * np.sqrt(pressure / 3e5) + 1e-4 * feed
    x = np.stack([feed, jacket_k, 60 + 600 * residence, catalyst, 100 * valve], 1)
    return x, np.stack([temperature, pressure, conversion, flow], 1)


class Surrogate(nn.Module):
    def __init__(self, n_in, n_out, width=64):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(n_in, width), nn.Tanh(),
            nn.Linear(width, width), nn.Tanh(),
            nn.Linear(width, n_out),
        )

    def forward(self, x):
        return self.net(x)


def mean_r2(output, target):
    target, output = target.double(), output.double()
    r2 = 1 - (output - target).square().sum(0) / (target - target.mean(0)).square().sum(0)
    return r2.clamp(min=-1).mean().item()


def tensors(*arrays):
    return TensorDataset(*[torch.tensor(a, dtype=torch.float32) for a in arrays])


def parts(variant):
    torch.manual_seed(0)
    (x, y), (xv, yv) = simulate(3000, 1), simulate(600, 2)
    scaler = StandardScaler().fit(x)
    x, xv = scaler.transform(x), scaler.transform(xv)
    if variant != "bad":
        target_scaler = StandardScaler().fit(y)
        y, yv = target_scaler.transform(y), target_scaler.transform(yv)
    model = Surrogate(x.shape[1], len(OUTPUTS))
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(tensors(x, y), batch_size=64, shuffle=True),
        "val_loader": DataLoader(tensors(xv, yv), batch_size=600),
        "metric": mean_r2,
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(20):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            score = float(np.mean([p["metric"](model(x), y) for x, y in p["val_loader"]]))
        print(f"epoch {epoch + 1}: mse {np.mean(losses):.4g}  mean R2 over {len(OUTPUTS)} outputs {score:.3f}")
    print(f"score: {score:.4f}")
