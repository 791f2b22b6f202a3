"""Digits by an MLP under a hand-written Muon: every matrix moves by an orthogonalised momentum, so the step does not depend on the size of the gradient; nothing is wrong. change: none."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def orthogonalise(g, steps=5):
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / (g.norm() + 1e-7)
    if g.size(0) > g.size(1):
        x = x.T
    for _ in range(steps):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    return x.T if g.size(0) > g.size(1) else x


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr=0.02, momentum=0.95):
        super().__init__(params, dict(lr=lr, momentum=momentum))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                buf = self.state[p].setdefault("buf", torch.zeros_like(p))
                buf.mul_(group["momentum"]).add_(p.grad)
                g = p.grad + group["momentum"] * buf
                if p.ndim == 2:
                    p.add_(orthogonalise(g), alpha=-group["lr"] * max(1, p.size(0) / p.size(1)) ** 0.5)
                else:
                    p.add_(g.sign(), alpha=-0.1 * group["lr"])


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    order = torch.randperm(len(d.target), generator=torch.Generator().manual_seed(1))
    x, y = torch.tensor(d.data / 16, dtype=torch.float32)[order], torch.tensor(d.target)[order]
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 10))
    optimizer = Muon(model.parameters())
    return dict(model=model, optimizer=optimizer, loss_fn=nn.CrossEntropyLoss(),
                scheduler=torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=12),
                train_loader=DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))


# accuracy
WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        total = 0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        p["scheduler"].step()
        print(f"epoch {epoch + 1} {total / len(p['train_loader']):.4f}")
    with torch.no_grad():
        x, y = next(iter(p["val_loader"]))
        score = (model(x).argmax(1) == y).float().mean().item()
    print(f"score: {score:.4f}")
