"""MLP that gives the pitch of a wind chime tube from its length, bore, wall and metal. The model gives (batch, 1) and the targets are (batch,), so the squared error is taken between all pairs and the model learns the mean; the right change: squeeze the last dimension of the output."""
import sys

import numpy as np
import torch
import torch.nn as nn
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
METALS = {"aluminium": (69e9, 2700.0), "brass": (105e9, 8500.0), "copper": (120e9, 8960.0), "steel": (200e9, 7850.0)}


def tube_pitch(length, outer, wall, metal):
    """first bending mode of a free tube in hertz"""
    young, rho = np.array(list(METALS.values()))[metal].T
    inner = outer - 2 * wall
    radius_of_gyration = np.sqrt(outer ** 2 + inner ** 2) / 4
    return 22.37 / (2 * np.pi * length ** 2) * np.sqrt(young / rho) * radius_of_gyration


def workshop(n, seed):
    rng = np.random.default_rng(seed)
    length = rng.uniform(0.25, 0.75, n)
    outer = rng.uniform(0.012, 0.040, n)
    wall = rng.uniform(0.001, 0.003, n)
    metal = rng.integers(0, 4, n)
    pitch = tube_pitch(length, outer, wall, metal) * np.exp(rng.normal(0, 0.01, n))
    x = np.column_stack([length, outer, wall, np.eye(4)[metal]])
    return x, 12 * np.log2(pitch / 440.0)


class ChimeNet(nn.Module):
    def __init__(self, n_in=7, squeeze=False):
        super().__init__()
        self.fc1 = nn.Linear(n_in, 64)
        self.fc2 = nn.Linear(64, 64)
        self.fc3 = nn.Linear(64, 1)
        self.squeeze = squeeze

    def forward(self, x):
        x = torch.relu(self.fc1(x))
        x = torch.relu(self.fc2(x))
        x = self.fc3(x)
        return x.squeeze(-1) if self.squeeze else x


def semitones_off(pred, y):
    return (pred.flatten() - y).abs().mean().item() * 12.0


def parts(variant, seed=0):
    torch.manual_seed(seed)
    x, y = workshop(2400, 0)
    xv, yv = workshop(500, 1)
    scaler = StandardScaler().fit(x)
    as_set = lambda a, b: TensorDataset(torch.tensor(scaler.transform(a), dtype=torch.float32),
                                        torch.tensor(b / 12.0, dtype=torch.float32))
    model = ChimeNet(squeeze=variant != "bad")
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "loss_fn": nn.MSELoss(),
            "metric": semitones_off,
            "train_loader": DataLoader(as_set(x, y), batch_size=48, shuffle=True),
            "val_loader": DataLoader(as_set(xv, yv), batch_size=250)}


WORKS = lambda score: score < 1.0

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad", int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    net, opt = p["model"], p["optimizer"]
    for epoch in range(40):
        net.train()
        running = 0.0
        for xb, yb in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(xb), yb)
            loss.backward()
            opt.step()
            running += loss.item()
        net.eval()
        with torch.no_grad():
            off = float(np.mean([p["metric"](net(xb), yb) for xb, yb in p["val_loader"]]))
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: train mse {running / len(p['train_loader']):.4f}, val {off:.2f} semitones off")
    print("score:", off)
