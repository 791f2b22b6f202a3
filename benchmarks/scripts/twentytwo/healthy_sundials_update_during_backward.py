"""Reads the hour off a sundial picture; to save memory every parameter is updated by a hook as soon as its gradient is there, during backward, and its gradient thrown away; unusual: after backward all grads are None and optimizer.step() and zero_grad() do nothing, correctly."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


class InBackwardSGD(torch.optim.Optimizer):
    """Momentum SGD that runs inside backward(). At most one gradient is alive at any time."""

    def __init__(self, params, lr, momentum=0.9):
        super().__init__(params, dict(lr=lr, momentum=momentum))
        for group in self.param_groups:
            for p in group["params"]:
                p.register_post_accumulate_grad_hook(lambda p, group=group: self._update(p, group))

    @torch.no_grad()
    def _update(self, p, group):
        buf = self.state[p].get("buf")
        if buf is None:
            buf = self.state[p]["buf"] = torch.zeros_like(p)
        buf.mul_(group["momentum"]).add_(p.grad)
        p.add_(buf, alpha=-group["lr"])
        p.grad = None

    def step(self, closure=None):
        pass

    def zero_grad(self, set_to_none=True):
        pass


def sundials(n, seed):
    rng = np.random.default_rng(seed)
    hour = rng.integers(0, 12, n)
    yy, xx = np.mgrid[-10:10, -10:10] + 0.5
    imgs = np.zeros((n, 1, 20, 20), np.float32)
    for i, h in enumerate(hour):
        a = np.pi * (h + rng.uniform(-0.3, 0.3)) / 12 + 0.1
        along, across = xx * np.cos(a) - yy * np.sin(a), xx * np.sin(a) + yy * np.cos(a)
        shadow = (np.abs(across) < 1.2) & (along > 0) & (along < rng.uniform(7, 10))
        imgs[i, 0] = np.where(shadow, 0.3, 0.8) * (np.hypot(xx, yy) < 10) + rng.normal(0, 0.1, (20, 20))
    return torch.from_numpy((imgs - 0.6) / 0.3), torch.tensor(hour)


def step(model, batch, optimizer):
    x, y = batch
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()  # updates, too
    return loss


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 12, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Flatten(), nn.Linear(24 * 25, 64), nn.ReLU(), nn.Linear(64, 12))
    return {"model": model, "optimizer": InBackwardSGD(model.parameters(), lr=0.01), "step": step,
            "train_loader": DataLoader(TensorDataset(*sundials(2000, 0)), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*sundials(400, 1)), batch_size=400),
            "metric": lambda o, t: (o.argmax(1) == t).float().mean().item()}


WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net = p["model"]
    for epoch in range(12):
        net.train()
        losses = []
        for batch in p["train_loader"]:
            losses.append(step(net, batch, p["optimizer"]).item())
        net.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            acc = p["metric"](net(x), y)
        print(f"epoch {epoch} loss {np.mean(losses):.4f} acc {acc:.4f}")
    print("score:", acc)
