"""Inverse physics: stiffness and damping of an oscillator from noisy data with L-BFGS in double precision; no mistake: one batch, few steps with a closure, two scalar parameters beside the network; change: none."""
import sys
import torch
import torch.nn as nn

C_TRUE, K_TRUE = 0.6, 9.0
OUTER = 30
WORKS = lambda score: score < 0.15         # largest relative error of the two constants


def truth(t):
    w = (K_TRUE - C_TRUE ** 2 / 4) ** 0.5
    return torch.exp(-C_TRUE * t / 2) * torch.cos(w * t)


class Oscillator(nn.Module):
    def __init__(self):
        super().__init__()
        self.u = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)).double()
        self.c = nn.Parameter(torch.tensor(0.0, dtype=torch.float64))
        self.k = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, t):
        return self.u(2 * t - 3)

    def residual(self, t):
        t = t.clone().requires_grad_(True)
        u = self(t)
        u1 = torch.autograd.grad(u.sum(), t, create_graph=True)[0]
        u2 = torch.autograd.grad(u1.sum(), t, create_graph=True)[0]
        return u2 + self.c * u1 + self.k * u


def parts(variant="fixed"):
    torch.manual_seed(0)
    t_data = torch.linspace(0, 3, 60, dtype=torch.float64)[:, None]
    u_data = truth(t_data) + 0.02 * torch.randn(60, 1, dtype=torch.float64)
    t_col = torch.linspace(0, 3, 120, dtype=torch.float64)[:, None]
    model = Oscillator()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=1.0, max_iter=40, history_size=30, line_search_fn="strong_wolfe")

    def step(model, batch, optimizer):
        t, u, tc = batch

        def closure():
            optimizer.zero_grad()
            loss = 100 * (model(t) - u).pow(2).mean() + 0.05 * model.residual(tc).pow(2).mean()
            loss.backward()
            return loss

        return optimizer.step(closure).detach()

    return dict(model=model, optimizer=optimizer, train_loader=[(t_data, u_data, t_col)] * OUTER, step=step)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    m = p["model"]
    for i, batch in enumerate(p["train_loader"]):
        loss = p["step"](m, batch, p["optimizer"])
        if i % 5 == 4:
            print(f"{i + 1}: loss {loss.item():.5f}  c {m.c.item():.3f}  k {m.k.item():.3f}")
    print("score:", round(max(abs(m.c.item() / C_TRUE - 1), abs(m.k.item() / K_TRUE - 1)), 4))
