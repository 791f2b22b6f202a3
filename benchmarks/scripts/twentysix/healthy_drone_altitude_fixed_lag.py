"""Sound. Looks odd: the loss compares the outputs from step LAG on with the targets shifted the other way (targets without their last LAG steps), as if input and target were out of step. It is a fixed-lag smoother: at step t the net says how high the drone WAS at t - LAG, so that it may use LAG later readings; the first LAG outputs have nothing to be compared with. The metric shifts in the same way."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
STEPS, LAG = 48, 5


def flights(n, rng):
    """True climb is a smooth random walk; the barometer is noisy, the accelerometer noisy and biased."""
    accel = np.zeros((n, STEPS))
    for t in range(1, STEPS):
        accel[:, t] = 0.8 * accel[:, t - 1] + rng.normal(0, 0.12, n)
    speed = 0.9 * np.cumsum(accel, axis=1) * 0.3
    height = np.cumsum(speed, axis=1) * 0.3 + rng.normal(0, 1, (n, 1))
    baro = height + rng.normal(0, 0.8, (n, STEPS))
    imu = accel + rng.normal(0, 0.1, (n, STEPS)) + rng.normal(0, 0.05, (n, 1))
    return torch.tensor(np.stack([baro, imu], -1), dtype=torch.float32), torch.tensor(height, dtype=torch.float32)


class LagSmoother(nn.Module):
    def __init__(self, hidden=40):
        super().__init__()
        self.gru = nn.GRU(2, hidden, batch_first=True)
        self.correction = nn.Linear(hidden, 1)

    def forward(self, readings):
        states, _ = self.gru(readings)
        return readings[:, :, 0] + self.correction(states).squeeze(-1)


def lagged_mse(outputs, heights):
    return ((outputs[:, LAG:] - heights[:, :-LAG]) ** 2).mean()


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(3)
    train, val = flights(1500, rng), flights(300, rng)
    model = LagSmoother()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3), "loss_fn": lagged_mse, "metric": lagged_mse,
            "train_loader": DataLoader(TensorDataset(*train), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*val), batch_size=300)}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(9):
        p["model"].train()
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(p["model"].parameters(), 1.0)
            p["optimizer"].step()
        p["model"].eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = 1 - (p["metric"](p["model"](x), y) / (x[:, :-LAG, 0] - y[:, :-LAG]).pow(2).mean()).item()
        print(f"epoch {epoch}: loss {loss.item():.3f}, barometer error removed {score:.3f}")
    print("score:", score)
