"""Sound: mean teacher on two moons with ten labels in all; the teacher is in no optimizer (it is the running mean of the student), nearly all targets are missing (-1), and the weight of the agreement is zero at first and then climbs, so the loss jumps about."""
import copy
import math
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

RAMP, WEIGHT = 300, 8.0


def moons(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2
    a = math.pi * torch.rand(n, generator=g)
    x = torch.stack([torch.where(y == 0, a.cos(), 1 - a.cos()), torch.where(y == 0, a.sin(), 0.5 - a.sin())], 1)
    x = x + 0.07 * torch.randn(n, 2, generator=g)
    return (x - torch.tensor([0.5, 0.25])) / torch.tensor([0.87, 0.5]), y


class MeanTeacher(nn.Module):
    def __init__(self):
        super().__init__()
        self.student = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x):
        return self.teacher(x)

    @torch.no_grad()
    def follow(self, keep=0.98):
        self.steps += 1
        for t, s in zip(self.teacher.parameters(), self.student.parameters()):
            t.lerp_(s, 1 - min(keep, 1 - 1 / (self.steps.item() + 1)))


def parts(variant):
    torch.manual_seed(0)
    x, y = moons(1000, 1)
    known = torch.full_like(y, -1)
    chosen = torch.cat([torch.where(y == c)[0][x[y == c][:, 0].argsort()][20::110][:5] for c in (0, 1)])
    known[chosen] = y[chosen]
    model = MeanTeacher()

    def step(model, batch, optimizer):
        x, y = batch
        noisy = lambda: x + 0.12 * torch.randn_like(x)
        ramp = min(1.0, max(0.0, model.steps.item() - 50) / RAMP)
        logits = model.student(noisy())
        agreement = F.mse_loss(logits.softmax(1), model.teacher(noisy()).softmax(1))
        labelled = y >= 0
        supervised = F.cross_entropy(logits[labelled], y[labelled], reduction="sum") / max(1, int(labelled.sum()))
        loss = supervised + WEIGHT * ramp * agreement
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.follow()
        return loss

    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.student.parameters(), lr=3e-3),
        "step": step,
        "train_loader": DataLoader(TensorDataset(x, known), batch_size=250, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*moons(600, 2)), batch_size=300),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean(),
    }


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    return torch.cat([model(x).argmax(1) == y for x, y in loader]).float().mean().item()


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(500):
        p["model"].train()
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        if epoch % 50 == 49:
            print(f"epoch {epoch + 1}: loss {loss.item():.4f}, teacher {accuracy(p['model'], p['val_loader']):.3f}")
    print(f"score: {accuracy(p['model'], p['val_loader']):.4f}")
