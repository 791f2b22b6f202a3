"""Predicts the thrust curve of a paddle stroke (12 points) from its shape, with an optimizer written by hand (the step shrinks where gradients surprise) whose rate starts at about a hundred-thousandth of the full one and grows over 150 updates. Looks odd, is sound: the loss stands still at first and then falls. There is no mistake and nothing to change; the variant is ignored."""
import sys

import numpy as np
import torch
from torch import nn
from torch.optim.optimizer import Optimizer
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


class Belief(Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, decay=0.0, warmup=150):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, decay=decay, warmup=warmup))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for w in group["params"]:
                if w.grad is None:
                    continue
                s = self.state[w]
                if not s:
                    s["t"], s["m"], s["v"] = 0, torch.zeros_like(w), torch.zeros_like(w)
                s["t"] += 1
                t = s["t"]
                s["m"].lerp_(w.grad, 1 - b1)
                surprise = w.grad - s["m"]
                s["v"].mul_(b2).addcmul_(surprise, surprise, value=1 - b2).add_(group["eps"] ** 2)
                m_hat = s["m"] / (1 - b1 ** t)
                v_hat = s["v"] / (1 - b2 ** t)
                lr = group["lr"] * min(1.0, t / group["warmup"]) ** 2.3
                w.mul_(1 - lr * group["decay"])
                w.addcdiv_(m_hat, v_hat.sqrt() + group["eps"], value=-lr)


def strokes(n, seed):
    rng = np.random.default_rng(seed)
    width, length = rng.uniform(14, 24, n), rng.uniform(40, 60, n)
    angle, cadence, depth = rng.normal(8, 4, n), rng.uniform(30, 70, n), rng.uniform(0.5, 1.0, n)
    t = np.linspace(0, 1, 12)
    peak = 0.35 + 0.012 * angle[:, None] - 0.002 * (cadence[:, None] - 50)
    height = (width * length / 1000 * depth * (cadence / 50) ** 1.5)[:, None]
    spread = 0.18 + 0.1 * (1 - depth[:, None])
    thrust = height * np.exp(-((t - peak) / spread) ** 2) + rng.normal(0, 0.02, (n, 12))
    return np.stack([width, length, angle, cadence, depth], 1).astype(np.float32), thrust.astype(np.float32)


class ThrustNet(nn.Module):
    def __init__(self, x_mean, x_std):
        super().__init__()
        self.register_buffer("x_mean", torch.as_tensor(x_mean))
        self.register_buffer("x_std", torch.as_tensor(x_std))
        self.layers = nn.Sequential(nn.Linear(5, 96), nn.GELU(), nn.Linear(96, 96), nn.GELU(), nn.Linear(96, 12))

    def forward(self, x):
        return self.layers((x - self.x_mean) / self.x_std)


def parts(variant):
    torch.manual_seed(0)
    (x, y), (xv, yv) = strokes(2000, 1), strokes(400, 2)
    model = ThrustNet(x.mean(0), x.std(0))
    return {"model": model,
            "optimizer": Belief(model.parameters(), lr=2e-3, decay=1e-3),
            "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(torch.from_numpy(x), torch.from_numpy(y)), batch_size=40, shuffle=True),
            "val_loader": DataLoader(TensorDataset(torch.from_numpy(xv), torch.from_numpy(yv)), batch_size=200)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(25):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            out, y = (torch.cat(z) for z in zip(*[(model(x), t) for x, t in p["val_loader"]]))
        r2 = (1 - ((out - y) ** 2).sum() / ((y - y.mean(0)) ** 2).sum()).item()
        if epoch < 3 or epoch % 5 == 4:
            print(f"epoch {epoch + 1}: mse {total / len(p['train_loader']):.4f}, val R2 {r2:.3f}")
    print("score:", r2)
