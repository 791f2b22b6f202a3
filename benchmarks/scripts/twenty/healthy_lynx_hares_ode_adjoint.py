"""Neural ODE for hares and lynxes: Runge-Kutta steps without a graph in the forward pass, gradients by the adjoint run backwards in a custom Function, log populations; sound. change: nothing."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

DT, STEPS = 0.2, 10


def segments(n, seed):
    rng = np.random.default_rng(seed)
    z = rng.uniform(-0.8, 0.8, (n, 2))                     # log populations, scaled to an equilibrium at 0
    f = lambda z: np.stack([1.1 - 1.1 * np.exp(z[:, 1]), -0.8 + 0.8 * np.exp(z[:, 0])], 1)
    path = [z]
    for _ in range(STEPS):
        for _ in range(10):
            z = z + DT / 10 * f(z + DT / 20 * f(z))
        path.append(z)
    path = torch.tensor(np.stack(path, 1), dtype=torch.float32)
    return path[:, 0], path[:, 1:]


def rk4(f, z, h):
    k1 = f(z)
    k2 = f(z + h / 2 * k1)
    k3 = f(z + h / 2 * k2)
    k4 = f(z + h * k3)
    return z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


class Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx, field, z, *params):
        path = [z]
        with torch.no_grad():
            for _ in range(STEPS):
                path.append(rk4(field, path[-1], DT))
        ctx.field, ctx.path = field, path
        return torch.stack(path[1:], 1)

    @staticmethod
    def backward(ctx, grad):
        params = list(ctx.field.parameters())
        total = [torch.zeros_like(w) for w in params]
        a = torch.zeros_like(ctx.path[0])
        for i in reversed(range(STEPS)):
            a = a + grad[:, i]
            with torch.enable_grad():
                z = ctx.path[i].detach().requires_grad_()
                out = rk4(ctx.field, z, DT)
                pieces = torch.autograd.grad(out, [z] + params, a)
            a = pieces[0]
            total = [t + p for t, p in zip(total, pieces[1:])]
        return (None, a, *total)


class NeuralODE(nn.Module):
    def __init__(self):
        super().__init__()
        self.field = nn.Sequential(nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 2))
        nn.init.normal_(self.field[0].weight, std=0.5)
        nn.init.zeros_(self.field[2].bias)

    def forward(self, z):
        return Adjoint.apply(self.field, z, *self.field.parameters())


def parts(variant):
    torch.manual_seed(0)
    model = NeuralODE()
    return dict(model=model, optimizer=torch.optim.RAdam(model.parameters(), lr=5e-3), loss_fn=nn.L1Loss(),
                train_loader=DataLoader(TensorDataset(*segments(640, 1)), 64, shuffle=True),
                val_loader=DataLoader(TensorDataset(*segments(200, 2)), 200))


WORKS = lambda score: score < 0.05  # mean absolute error over two time units; standing still has about 0.39

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    (z0, path), = p["val_loader"]
    print("standing still", (z0[:, None] - path).abs().mean().item())
    for epoch in range(40):
        seen = []
        for z, target in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(z), target)
            loss.backward()
            opt.step()
            seen.append(loss.item())
        if epoch % 6 == 0:
            print(f"epoch {epoch} loss {np.mean(seen):.4f}")
    with torch.no_grad():
        score = (model(z0) - path).abs().mean().item()
    print(f"score: {score:.4f}")
