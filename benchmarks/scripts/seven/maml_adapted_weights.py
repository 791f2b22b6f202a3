"""MAML on sinusoids; the fast weights start from detached copies, so the query loss never reaches the meta-parameters; change: `fixed` starts from the parameters themselves."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.func import functional_call

K, INNER_LR, META_BATCH, ITERS = 10, 0.03, 8, 1200
WORKS = lambda score: score < 2.0          # query MSE after one inner step on new sinusoids (predicting zero: about 4)


class SineNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x):
        return self.net(x)


def sample_tasks(n):
    amp = torch.rand(n, 1, 1) * 4.9 + 0.1
    phase = torch.rand(n, 1, 1) * torch.pi
    x = torch.rand(n, 2 * K, 1) * 10 - 5
    y = amp * torch.sin(x - phase)
    return x[:, :K], y[:, :K], x[:, K:], y[:, K:]


def adapt(model, xs, ys, steps, copy):
    if copy:
        fast = {n: p.detach().clone().requires_grad_(True) for n, p in model.named_parameters()}
    else:
        fast = dict(model.named_parameters())
    for _ in range(steps):
        inner = F.mse_loss(functional_call(model, fast, (xs,)), ys)
        grads = torch.autograd.grad(inner, list(fast.values()), create_graph=True)
        fast = {n: p - INNER_LR * g for (n, p), g in zip(fast.items(), grads)}
    return fast


def parts(variant):
    torch.manual_seed(0)
    model = SineNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def training_step(model, batch):
        query = []
        for xs, ys, xq, yq in zip(*batch):
            fast = adapt(model, xs, ys, 1, copy=variant == "bad")
            query.append(F.mse_loss(functional_call(model, fast, (xq,)), yq))
        return torch.stack(query).mean()

    return dict(model=model, optimizer=optimizer, train_loader=[sample_tasks(META_BATCH) for _ in range(ITERS)],
                training_step=training_step)


def meta_test(model, n=200):
    torch.manual_seed(1234)
    total = 0.0
    for xs, ys, xq, yq in zip(*sample_tasks(n)):
        fast = adapt(model, xs, ys, 1, copy=False)
        with torch.no_grad():
            total += F.mse_loss(functional_call(model, fast, (xq,)), yq).item()
    return total / n


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, meta_opt = p["model"], p["optimizer"]
    smooth = None
    for it, tasks in enumerate(p["train_loader"], 1):
        meta_loss = p["training_step"](model, tasks)
        meta_opt.zero_grad()
        meta_loss.backward()
        meta_opt.step()
        smooth = meta_loss.item() if smooth is None else 0.98 * smooth + 0.02 * meta_loss.item()
        if it % 100 == 0:
            print(f"meta-iteration {it}: query loss {smooth:.3f}")
    print("score:", round(meta_test(model), 4))
