"""Path of a walker from accelerations and turns (IMU windows, GRU gives the displacement of each window, the path is their running sum), RAdam; the sum runs over the first axis, written for (time, batch), and the walkers of a batch are added up one after the other; change: cumsum over dim 1."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

STEPS, FEATURES = 20, 5


def walks(n, seed):
    g = torch.Generator().manual_seed(seed)
    turn = 0.25 * torch.randn(n, STEPS, generator=g)
    cadence = 0.7 + 0.6 * torch.rand(n, STEPS, generator=g)
    heading = turn.cumsum(1)
    length = 0.3 * cadence + 0.4 * cadence ** 2
    move = torch.stack([length * heading.cos(), length * heading.sin()], -1)
    path = move.cumsum(1)
    impact = cadence ** 2 + 0.1 * torch.randn(n, STEPS, generator=g)
    start = torch.zeros(n, STEPS)
    start[:, 0] = 1.0
    tilt = torch.randn(n, STEPS, generator=g) * 0.3
    return torch.stack([turn / 0.25, (cadence - 1) / 0.17, (impact - 1) / 0.4, start, tilt], -1), path / 4.0


class Odometry(nn.Module):
    def __init__(self, hidden=64, axis=1):
        super().__init__()
        self.axis = axis
        self.gru = nn.GRU(FEATURES, hidden, batch_first=True)
        self.step = nn.Sequential(nn.Linear(hidden, 32), nn.Tanh(), nn.Linear(32, 2))

    def forward(self, imu):
        h, _ = self.gru(imu)
        displacement = self.step(h)
        return displacement.cumsum(self.axis)


def parts(variant):
    torch.manual_seed(0)
    model = Odometry(axis=0 if variant == "bad" else 1)
    return {
        "model": model,
        "optimizer": torch.optim.RAdam(model.parameters(), lr=4e-3),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(*walks(2000, 1)), batch_size=32, shuffle=True, drop_last=True),
        "val_loader": DataLoader(TensorDataset(*walks(400, 2)), batch_size=32),
    }


class Trainer:
    def __init__(self, p):
        self.p, self.model = p, p["model"]

    def epoch(self):
        self.model.train()
        seen = []
        for imu, path in self.p["train_loader"]:
            self.p["optimizer"].zero_grad()
            loss = self.p["loss_fn"](self.model(imu), path)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
            self.p["optimizer"].step()
            seen.append(loss.item())
        return sum(seen) / len(seen)

    @torch.no_grad()
    def explained(self):
        self.model.eval()
        out, true = [], []
        for imu, path in self.p["val_loader"]:
            out.append(self.model(imu))
            true.append(path)
        out, true = torch.cat(out), torch.cat(true)
        return (1 - ((out - true) ** 2).mean() / ((true - true.mean((0, 1))) ** 2).mean()).item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    trainer = Trainer(parts(sys.argv[1] if len(sys.argv) > 1 else "fixed"))
    for n in range(15):
        print(f"epoch {n}: loss {trainer.epoch():.4f}, path explained {trainer.explained():.3f}")
    print(f"score: {trainer.explained():.4f}")
