"""Controller of a cart trained by the gradient through a simulated drive of 40 steps: no labels, the "data" are starting states, the loss begins in the hundreds, clipping acts on most early steps, the rate follows a cosine per step; sound."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class Controller(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, state):
        return 6 * torch.tanh(self.net(state * torch.tensor([0.2, 0.3, 0.3])))


def drive(model, state, steps=40, dt=0.1):
    cost = 0.0
    for _ in range(steps):
        force = model(state)[:, 0]
        pos, vel, slope = state.unbind(1)
        vel = vel + dt * (force - 0.3 * vel - slope)
        pos = pos + dt * vel
        state = torch.stack([pos, vel, slope], 1)
        cost = cost + pos ** 2 + 0.1 * vel ** 2 + 0.01 * force ** 2
    return cost, state


def training_step(model, batch):
    start, = batch
    return drive(model, start)[0].mean()


def starts(n):
    return torch.randn(n, 3) * torch.tensor([3.0, 1.0, 1.0])


def parts(variant):
    torch.manual_seed(0)
    model = Controller()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    epochs, per_epoch = 15, 20
    return {"model": model, "optimizer": optimizer, "training_step": training_step,
            "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * per_epoch),
            "train_loader": DataLoader(TensorDataset(starts(1000)), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(starts(300)), batch_size=300)}


WORKS = lambda score: score < 0.5       # mean distance from the origin at the end of the drive

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(15):
        total = 0.0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            p["optimizer"].step()
            p["scheduler"].step()
            total += loss.item()
        print(f"epoch {epoch} mean cost {total / len(p['train_loader']):.2f}")
    with torch.no_grad():
        start, = next(iter(p["val_loader"]))
        _, end = drive(model, start)
    print(f"score: {end[:, 0].abs().mean():.4f}")
