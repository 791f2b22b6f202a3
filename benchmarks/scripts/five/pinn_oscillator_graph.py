"""PINN of a damped oscillator as a first-order system; the time derivative is taken with retain_graph=True but without create_graph, so it is a constant to the loss; change: create_graph=True."""
import argparse

import torch
import torch.nn as nn

OMEGA, ZETA, T_END = 2.0, 0.15, 4.0


class Net(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 2)
        )
        self.register_buffer("start", torch.tensor([[1.0, 0.0]]))

    def forward(self, t):
        # position and velocity; the starting values are built in
        return self.start + t * self.layers(t / T_END * 2 - 1)


class Residual:
    def __init__(self, variant):
        self.variant = variant

    def derivative(self, y, t):
        ones = torch.ones_like(y)
        if self.variant == "bad":
            return torch.autograd.grad(y, t, grad_outputs=ones, retain_graph=True)[0]
        return torch.autograd.grad(y, t, grad_outputs=ones, create_graph=True)[0]

    def __call__(self, model, t):
        t = t.clone().requires_grad_(True)
        u = model(t)
        x, v = u[:, :1], u[:, 1:]
        dx, dv = self.derivative(x, t), self.derivative(v, t)
        r_x = dx - v
        r_v = dv + 2 * ZETA * OMEGA * v + OMEGA ** 2 * x
        return (r_x ** 2).mean() + (r_v ** 2).mean()


def exact(t):
    wd = OMEGA * (1 - ZETA ** 2) ** 0.5
    return torch.exp(-ZETA * OMEGA * t) * (torch.cos(wd * t) + ZETA * OMEGA / wd * torch.sin(wd * t))


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9995),
        "train_loader": [torch.rand(128, 1) * T_END for _ in range(100)],
        "training_step": Residual(variant),
    }


@torch.no_grad()
def relative_error(model):
    t = torch.linspace(0, T_END, 400).unsqueeze(1)
    return ((model(t)[:, :1] - exact(t)).norm() / exact(t).norm()).item()


WORKS = lambda score: score < 0.1

if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=40)
    args = ap.parse_args()
    torch.set_num_threads(1)
    p = parts(args.variant)
    model, opt = p["model"], p["optimizer"]
    for epoch in range(args.epochs):
        for t in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, t)
            loss.backward()
            opt.step()
            p["scheduler"].step()
        if epoch % 5 == 0:
            print(f"epoch {epoch:02d}  residual {loss.item():.5f}  error {relative_error(model):.4f}")
    print(f"score: {relative_error(model):.4f}")
