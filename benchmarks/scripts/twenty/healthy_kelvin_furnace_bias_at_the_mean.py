"""Furnace wall temperature in kelvin from flow, power and pascals: the net keeps mean and deviation of the inputs as buffers, the last bias starts at the mean target, Huber loss in kelvin; sound. change: nothing."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class FurnaceLog(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        flow = rng.uniform(0.002, 0.03, n)             # m3/s
        power = rng.uniform(20e3, 90e3, n)             # W
        press = rng.normal(101325, 900, n)             # Pa
        lining = rng.uniform(0.05, 0.25, n)            # m
        t = 600 + power / (40 + 4000 * flow) * (1 - np.exp(-lining * 12)) * (press / 101325) ** 3
        self.x = np.stack([flow, power, press, lining], 1)
        self.t = t + rng.normal(0, 6, n)

    def __len__(self):
        return len(self.t)

    def __getitem__(self, i):
        return torch.as_tensor(self.x[i], dtype=torch.float32), torch.tensor(self.t[i], dtype=torch.float32)


class WallNet(nn.Module):
    def __init__(self, x, t):
        super().__init__()
        self.register_buffer("mu", torch.as_tensor(x.mean(0), dtype=torch.float32))
        self.register_buffer("sd", torch.as_tensor(x.std(0), dtype=torch.float32))
        self.register_buffer("span", torch.tensor(float(t.std())))
        self.body = nn.Sequential(nn.Linear(4, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU())
        self.out = nn.Linear(48, 1)
        self.offset = nn.Parameter(torch.tensor(float(t.mean())))

    def forward(self, x):
        z = (x - self.mu) / self.sd
        return self.offset + self.span * self.out(self.body(z)).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    train, val = FurnaceLog(3000, 1), FurnaceLog(600, 2)
    model = WallNet(train.x, train.t)
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3), loss_fn=nn.HuberLoss(delta=20.0),
                train_loader=DataLoader(train, batch_size=64, shuffle=True), val_loader=DataLoader(val, batch_size=200))


WORKS = lambda score: score < 15  # mean absolute error in kelvin

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(25):
        running = 0.0
        for x, t in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), t)
            loss.backward()
            optimizer.step()
            running += loss.item() * len(t)
        if epoch % 4 == 0:
            print(f"epoch {epoch:2d}  huber {running / 3000:.1f}")
    with torch.no_grad():
        score = torch.cat([(model(x) - t).abs() for x, t in p["val_loader"]]).mean().item()
    print(f"score: {score:.4f}")
