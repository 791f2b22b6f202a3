"""MAML on sine waves; the mistake: the adapted weights are detached (made leaves of their own), so the query loss never reaches the shared initialisation; change: `fixed` keeps the adapted weights in the graph."""
import math
import sys

import torch
import torch.nn as nn

INNER_LR, SHOTS, TASKS, WIDTH = 0.02, 10, 16, 40
WORKS = lambda score: score < 1.3


class SineNet(nn.Module):
    """weights can be handed in with a leading task dimension"""

    def __init__(self):
        super().__init__()
        sizes = [1, WIDTH, WIDTH, 1]
        self.ws = nn.ParameterList(nn.Parameter(torch.empty(i, o).uniform_(-1, 1) / i ** 0.5)
                                   for i, o in zip(sizes, sizes[1:]))
        self.bs = nn.ParameterList(nn.Parameter(torch.zeros(1, o)) for o in sizes[1:])

    def weights(self):
        return [p for pair in zip(self.ws, self.bs) for p in pair]

    def forward(self, x, weights=None):
        weights = self.weights() if weights is None else weights
        for k in range(0, len(weights), 2):
            x = x @ weights[k] + weights[k + 1]
            if k + 2 < len(weights):
                x = torch.relu(x)
        return x


def sine_tasks(n, gen):
    amp = 0.5 + 3.5 * torch.rand(n, 1, 1, generator=gen)
    phase = math.pi * torch.rand(n, 1, 1, generator=gen)
    x = 10 * torch.rand(n, 2 * SHOTS, 1, generator=gen) - 5
    y = amp * torch.sin(x + phase)
    return x[:, :SHOTS], y[:, :SHOTS], x[:, SHOTS:], y[:, SHOTS:]


def adapt(model, xs, ys, variant, steps=1):
    fast = [w.expand(len(xs), *w.shape) for w in model.weights()]
    if variant != "fixed":
        fast = [w.clone().detach().requires_grad_(True) for w in fast]
    for _ in range(steps):
        loss = ((model(xs, fast) - ys) ** 2).mean(dim=(1, 2)).sum()
        grads = torch.autograd.grad(loss, fast, create_graph=True)
        fast = [w - INNER_LR * g for w, g in zip(fast, grads)]
    return fast


def parts(variant="fixed", iterations=3000):
    torch.manual_seed(14)
    gen = torch.Generator().manual_seed(14)
    model = SineNet()

    def training_step(model, batch):
        xs, ys, xq, yq = batch
        fast = adapt(model, xs, ys, variant)
        return ((model(xq, fast) - yq) ** 2).mean()

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "train_loader": [sine_tasks(TASKS, gen) for _ in range(iterations)],
            "val_loader": [sine_tasks(200, gen)], "training_step": training_step, "variant": variant}


def few_shot_error(p, steps=3):
    xs, ys, xq, yq = p["val_loader"][0]
    fast = adapt(p["model"], xs, ys, p["variant"], steps)
    return ((p["model"](xq, fast) - yq) ** 2).mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, meta_opt = p["model"], p["optimizer"]
    for it, batch in enumerate(p["train_loader"]):
        meta_opt.zero_grad()
        loss = p["training_step"](model, batch)
        loss.backward()
        meta_opt.step()
        if it % 500 == 0:
            print(f"iteration {it}: query loss {loss.item():.3f}, after 3 steps {few_shot_error(p):.3f}")
    print(f"score: {few_shot_error(p):.4f}")
