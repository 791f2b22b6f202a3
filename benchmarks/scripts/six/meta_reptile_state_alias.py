"""Reptile on sine waves; the weights before the inner loop are kept as state_dict() without a copy, so "before" equals "after" and the outer step does nothing; change: deepcopy."""
import argparse
import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

INNER_STEPS, INNER_LR, OUTER_LR, META_ITERS = 24, 0.02, 0.12, 1500


def sample_task(rng):
    phase, ampl = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 5)
    return lambda x: torch.sin(x + phase) * ampl


def new_model():
    return nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))


def adapt(model, x, y, optimizer, steps, batch=10):
    for k in range(steps):
        i = torch.arange(k * batch, (k + 1) * batch) % len(x)
        optimizer.zero_grad()
        loss = F.mse_loss(model(x[i]), y[i])
        loss.backward()
        optimizer.step()
    return loss.detach()


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.RandomState(0)
    model = new_model()
    grid = torch.linspace(-5, 5, 50).unsqueeze(1)
    tasks = []
    for _ in range(META_ITERS):
        f, x = sample_task(rng), grid[torch.randperm(50)]
        tasks.append((x, f(x)))
    state = {"it": 0}

    def step(model, batch, optimizer):
        x, y = batch
        before = model.state_dict()
        if variant != "bad":
            before = copy.deepcopy(before)
        loss = adapt(model, x, y, optimizer, INNER_STEPS)
        after = model.state_dict()
        eps = OUTER_LR * (1 - state["it"] / META_ITERS)      # linear schedule
        model.load_state_dict({k: before[k] + (after[k] - before[k]) * eps for k in before})
        state["it"] = min(state["it"] + 1, META_ITERS - 1)
        return loss

    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=INNER_LR),
            "train_loader": tasks, "step": step}


WORKS = lambda score: score < 0.8


def few_shot_error(model, n_tasks=60, shots=10, steps=16):
    """mean squared error on the whole curve after some steps on ten points"""
    rng, gen = np.random.RandomState(77), torch.Generator().manual_seed(77)
    grid, errs = torch.linspace(-5, 5, 50).unsqueeze(1), []
    for _ in range(n_tasks):
        f = sample_task(rng)
        x = torch.rand(shots, 1, generator=gen) * 10 - 5
        m = copy.deepcopy(model)
        adapt(m, x, f(x), torch.optim.SGD(m.parameters(), lr=INNER_LR), steps)
        with torch.no_grad():
            errs.append(F.mse_loss(m(grid), f(grid)).item())
    return float(np.mean(errs))


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    p = parts(ap.parse_args().variant)
    print(f"few-shot error before training {few_shot_error(p['model']):.3f}")
    for it, task in enumerate(p["train_loader"]):
        loss = p["step"](p["model"], task, p["optimizer"])
        if it % 250 == 249:
            print(f"iter {it + 1}: inner loss {loss.item():.3f}, few-shot error {few_shot_error(p['model']):.3f}")
    print(f"score: {few_shot_error(p['model']):.4f}")
