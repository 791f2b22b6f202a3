"""MAML on sine regression; the inner loop starts from detached clones of the weights, so the query loss never gives the meta-parameters a gradient; change: starts from the parameters themselves."""
import math
import sys

import torch
from torch import nn
from torch.func import functional_call

INNER_LR, INNER_STEPS, SHOTS = 0.02, 3, 10


def sample_tasks(n, generator):
    amp = 0.5 + 2.5 * torch.rand(n, 1, 1, generator=generator)
    phase = math.pi * torch.rand(n, 1, 1, generator=generator)
    x = 10 * torch.rand(n, 2 * SHOTS, 1, generator=generator) - 5
    y = amp * torch.sin(x - phase)
    return x[:, :SHOTS], y[:, :SHOTS], x[:, SHOTS:], y[:, SHOTS:]


def make_net():
    return nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))


def adapt(model, weights, xs, ys, create_graph=True):
    for _ in range(INNER_STEPS):
        loss = nn.functional.mse_loss(functional_call(model, weights, (xs,)), ys)
        grads = torch.autograd.grad(loss, list(weights.values()), create_graph=create_graph)
        weights = {name: w - INNER_LR * g for (name, w), g in zip(weights.items(), grads)}
    return weights


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = make_net()

    def meta_loss(model, tasks):
        total = 0.0
        for xs, ys, xq, yq in zip(*tasks):
            if variant == "bad":
                fast = {name: w.clone().detach().requires_grad_(True) for name, w in model.named_parameters()}
            else:
                fast = dict(model.named_parameters())
            fast = adapt(model, fast, xs, ys)
            total = total + nn.functional.mse_loss(functional_call(model, fast, (xq,)), yq)
        return total / len(tasks[0])

    g = torch.Generator().manual_seed(1)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "train_loader": [sample_tasks(8, g) for _ in range(1500)],
        "val_loader": [sample_tasks(8, g) for _ in range(25)],
        "training_step": meta_loss,
    }


def adapted_error(model, loader):
    """Query error after adaptation, over the targets' variance."""
    err, var = 0.0, 0.0
    for tasks in loader:
        for xs, ys, xq, yq in zip(*tasks):
            start = {n: w.detach().requires_grad_(True) for n, w in model.named_parameters()}
            fast = adapt(model, start, xs, ys, create_graph=False)
            with torch.no_grad():
                err += ((functional_call(model, fast, (xq,)) - yq) ** 2).mean().item()
                var += (yq ** 2).mean().item()
    return err / var


WORKS = lambda score: score < 0.35

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, meta_opt = p["model"], p["optimizer"]
    mean = None
    for it, tasks in enumerate(p["train_loader"]):
        meta_opt.zero_grad()
        loss = p["training_step"](model, tasks)
        loss.backward()
        meta_opt.step()
        mean = loss.item() if mean is None else 0.99 * mean + 0.01 * loss.item()
        if it % 250 == 0:
            print(f"iteration {it}: meta loss {mean:.3f}")
    print(f"score: {adapted_error(model, p['val_loader']):.4f}")
