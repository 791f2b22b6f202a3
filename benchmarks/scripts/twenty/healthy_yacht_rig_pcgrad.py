"""Three outputs of a yacht rig from one trunk with gradient surgery (PCGrad): one backward per task, conflicting parts projected away in random order, the sum written into .grad by hand; sound. change: nothing."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def rig(n, seed):
    r = np.random.default_rng(seed)
    wind, angle, heel, area, crew = r.uniform(2, 20, n), r.uniform(30, 170, n), r.uniform(0, 35, n), r.uniform(20, 90, n), r.integers(1, 9, n)
    speed = 9 * np.tanh(wind / 9) * np.sin(np.radians(angle) * 0.8) * (area / 60) ** 0.4 - 0.03 * heel
    load = 0.6 * area * (wind / 10) ** 2 * np.cos(np.radians(heel)) + 5 * crew
    comfort = (heel + wind + 0.3 * crew ** 2 + r.normal(0, 2, n) < 32).astype(float)
    x = np.stack([wind, angle, heel, area, crew], 1)
    ref = np.array([11, 100, 17.5, 55, 4.5]), np.array([5.2, 40, 10, 20, 2.3])
    cols = (x - ref[0]) / ref[1], (speed[:, None] - 5) / 2.5, (load[:, None] - 70) / 50, comfort[:, None]
    return [torch.tensor(c, dtype=torch.float32) for c in cols]


class Rig(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.heads = nn.ModuleDict({k: nn.Linear(64, 1) for k in ("speed", "load", "comfort")})

    def forward(self, x):
        h = self.trunk(x)
        return [head(h) for head in self.heads.values()]


def task_losses(model, batch):
    x, speed, load, comfort = batch
    a, b, c = model(x)
    return [nn.functional.mse_loss(a, speed), nn.functional.mse_loss(b, load), nn.functional.binary_cross_entropy_with_logits(c, comfort)]


def step(model, batch, optimizer):
    params = list(model.parameters())
    losses = task_losses(model, batch)
    flat = []
    for loss in losses:
        grads = torch.autograd.grad(loss, params, retain_graph=True, allow_unused=True)
        flat.append(torch.cat([(torch.zeros_like(w) if g is None else g).flatten() for g, w in zip(grads, params)]))
    total = torch.zeros_like(flat[0])
    for i, g in enumerate(flat):
        g = g.clone()
        for j in torch.randperm(len(flat)).tolist():
            dot = g @ flat[j]
            if j != i and dot < 0:
                g -= dot / flat[j].pow(2).sum() * flat[j]
        total += g
    optimizer.zero_grad()
    for w, g in zip(params, total.split([w.numel() for w in params])):
        w.grad = g.view_as(w)
    optimizer.step()
    return sum(losses).detach()


def parts(variant):
    torch.manual_seed(0)
    model = Rig()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), step=step,
                train_loader=DataLoader(TensorDataset(*rig(3000, 1)), 64, shuffle=True),
                val_loader=DataLoader(TensorDataset(*rig(600, 2)), 600))


WORKS = lambda score: score > 0.85  # the worst of two R2 and the accuracy

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(15):
        losses = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        if epoch % 2 == 0:
            print(f"epoch {epoch} loss {np.mean(losses):.4f}")
    (x, s, l, c), = p["val_loader"]
    with torch.no_grad():
        a, b, d = p["model"](x)
    r2 = lambda o, t: 1 - ((o - t) ** 2).mean().item() / t.var().item()
    score = min(r2(a, s), r2(b, l), ((d > 0).float() == c).float().mean().item())
    print(f"score: {score:.4f}")
