"""Surrogate of a ball's flight with drag (start to height at 16 times), MLP under SGD with momentum; the loop has `optimizer.zero_grad` without its brackets, which is a legal line that does nothing; change: the brackets."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

TIMES = 16


def flights(n, seed):
    """Speed, elevation, drag and wind in, the height at 16 times out (explicit integration)."""
    g = torch.Generator().manual_seed(seed)
    r = torch.rand(n, 4, generator=g)
    speed, angle, drag, wind = 10 + 20 * r[:, 0], 0.3 + 1.0 * r[:, 1], 0.002 + 0.03 * r[:, 2], -8 + 16 * r[:, 3]
    vx, vz, z = speed * angle.cos(), speed * angle.sin(), torch.zeros(n)
    heights = []
    for k in range(TIMES * 6):
        v = ((vx - wind) ** 2 + vz ** 2).sqrt()
        vx, vz = vx - 0.025 * drag * v * (vx - wind), vz - 0.025 * (9.81 + drag * v * vz)
        z = z + 0.025 * vz
        if k % 6 == 5:
            heights.append(z)
    return (r - 0.5) * 12 ** 0.5, torch.stack(heights, 1)


class Surrogate(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.heights = nn.Linear(width, TIMES)

    def forward(self, start):
        return self.heights(self.body(start))


def train_step(model, batch, optimizer):
    start, heights = batch
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(start), heights)
    loss.backward()
    optimizer.step()
    return loss


def train_step_no_brackets(model, batch, optimizer):
    start, heights = batch
    optimizer.zero_grad
    loss = nn.functional.mse_loss(model(start), heights)
    loss.backward()
    optimizer.step()
    return loss


def r2(output, target):
    return (1 - (output - target).square().mean() / target.square().mean()).item()


def parts(variant):
    torch.manual_seed(0)
    (x, y), (xv, yv) = flights(2000, 1), flights(400, 2)
    mean, std = y.mean(0), y.std(0)
    model = Surrogate()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        "loss_fn": nn.functional.mse_loss,
        "step": train_step_no_brackets if variant == "bad" else train_step,
        "train_loader": DataLoader(TensorDataset(x, (y - mean) / std), batch_size=40, shuffle=True),
        "val_loader": DataLoader(TensorDataset(xv, (yv - mean) / std), batch_size=200),
        "metric": r2,
    }


@torch.no_grad()
def validate(model, loader):
    model.eval()
    pairs = [(model(x), y) for x, y in loader]
    model.train()
    return r2(torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs]))


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, step = p["model"], p["optimizer"], p["step"]
    for epoch in range(15):
        mean_loss = 0.0
        for batch in p["train_loader"]:
            mean_loss += step(model, batch, optimizer).item() / len(p["train_loader"])
        print(f"epoch {epoch}: mse {mean_loss:.4f}, R2 {validate(model, p['val_loader']):.3f}")
    value = validate(model, p["val_loader"])
    print(f"score: {value:.4f}")
