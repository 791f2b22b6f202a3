"""Healthy: Reptile on sine waves; the outer step moves weights toward adapted ones through hand-made gradients, and the loss it reports (after adapting to a new task each time) jumps about; change: none."""
import copy
import math
import sys

import torch
import torch.nn as nn

WORKS = lambda score: score < 1.0


def task(gen):
    amp = 0.5 + 3.5 * torch.rand(1, generator=gen)
    phase = math.pi * torch.rand(1, generator=gen)
    x = 10 * torch.rand(30, 1, generator=gen) - 5
    return x, amp * torch.sin(x + phase)


def net():
    return nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))


def adapt(model, x, y, steps, lr=0.02, size=10):
    fast = copy.deepcopy(model)
    weights = list(fast.parameters())
    for k in range(steps):
        i = torch.arange(k * size, (k + 1) * size) % len(x)
        loss = (fast(x[i]) - y[i]).pow(2).mean()
        for w, g in zip(weights, torch.autograd.grad(loss, weights)):
            w.data.sub_(lr * g)
    return fast, loss.detach()


def parts(variant="fixed", iterations=2500):
    torch.manual_seed(27)
    gen = torch.Generator().manual_seed(27)
    model = net()

    def step(model, batch, optimizer):
        fast, loss = adapt(model, *batch, steps=6)
        optimizer.zero_grad()
        for w, v in zip(model.parameters(), fast.parameters()):
            w.grad = w.data - v.data
        optimizer.step()
        return loss

    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    return {"model": model, "optimizer": optimizer, "step": step,
            "train_loader": [task(gen) for _ in range(iterations)],
            "val_loader": [task(gen) for _ in range(60)],
            "scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: max(0.05, 1 - i / iterations))}


def few_shot(model, tasks):
    errors = []
    for x, y in tasks:
        fast, _ = adapt(model, x[:10], y[:10], steps=24)
        with torch.no_grad():
            errors.append((fast(x[10:]) - y[10:]).pow(2).mean().item())
    return sum(errors) / len(errors)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for i, batch in enumerate(p["train_loader"]):
        loss = p["step"](p["model"], batch, p["optimizer"])
        p["scheduler"].step()
        if i % 500 == 0:
            print(f"{i}: inner loss {loss.item():.3f}  few-shot mse {few_shot(p['model'], p['val_loader']):.3f}")
    print(f"score: {few_shot(p['model'], p['val_loader']):.4f}")
