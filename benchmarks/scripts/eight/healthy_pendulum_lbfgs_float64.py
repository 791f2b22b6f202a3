"""Healthy: physics-informed fit of a damped oscillator to 12 noisy readings, full batch, float64, L-BFGS with a closure, unknown constants learned next to the net; change: none."""
import sys

import torch
import torch.nn as nn

D, W0 = 1.5, 6.0
WORKS = lambda score: score < 0.1


def truth(t):
    w = (W0 ** 2 - D ** 2) ** 0.5
    return torch.exp(-D * t) * (torch.cos(w * t) + D / w * torch.sin(w * t))


class Oscillator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
        self.log_d = nn.Parameter(torch.tensor(0.0))
        self.log_w = nn.Parameter(torch.tensor(1.5))

    def forward(self, t):
        return self.net(2 * t - 1)


def grad(y, x):
    return torch.autograd.grad(y.sum(), x, create_graph=True)[0]


def parts(variant="fixed"):
    torch.manual_seed(28)
    model = Oscillator().double()
    t_obs = torch.linspace(0, 1, 12, dtype=torch.float64).unsqueeze(1)
    u_obs = truth(t_obs) + 0.01 * torch.randn_like(t_obs)
    t_col = torch.linspace(0, 1, 60, dtype=torch.float64).unsqueeze(1).requires_grad_(True)

    def training_step(model, batch):
        t, u = batch
        data = (model(t) - u).pow(2).mean()
        y = model(t_col)
        dy = grad(y, t_col)
        d, w = model.log_d.exp(), model.log_w.exp()
        ode = grad(dy, t_col) + 2 * d * dy + w ** 2 * y
        return data + 1e-4 * ode.pow(2).mean()

    def step(model, batch, optimizer):
        def closure():
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            return loss
        return optimizer.step(closure)

    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=20, history_size=20,
                                  line_search_fn="strong_wolfe")
    return {"model": model, "optimizer": optimizer, "step": step, "train_loader": [(t_obs, u_obs)] * 120}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for i, batch in enumerate(p["train_loader"]):
        loss = p["step"](model, batch, p["optimizer"])
        if i % 20 == 0:
            print(f"{i}: {loss.item():.3e} d {model.log_d.exp().item():.3f} w {model.log_w.exp().item():.3f}")
    t = torch.linspace(0, 1, 200, dtype=torch.float64).unsqueeze(1)
    with torch.no_grad():
        print(f"score: {((model(t) - truth(t)).norm() / truth(t).norm()).item():.4f}")
