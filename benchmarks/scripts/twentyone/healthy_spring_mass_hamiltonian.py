"""A Hamiltonian network learns the vector field of a stiffening spring from noisy states: the forward pass differentiates a scalar energy by autograd, also in validation; score is the energy drift of a rollout."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def true_energy(s):
    q, p = s.unbind(-1)
    return 0.5 * p ** 2 + 0.5 * q ** 2 + 0.25 * q ** 4


def field(s):
    q, p = s.unbind(-1)
    return torch.stack([p, -q - q ** 3], -1)


def rk4(f, s, dt):
    a = f(s)
    b = f(s + dt / 2 * a)
    c = f(s + dt / 2 * b)
    d = f(s + dt * c)
    return s + dt / 6 * (a + 2 * b + 2 * c + d)


def states(n, seed):
    g = torch.Generator().manual_seed(seed)
    s = (torch.rand(n, 2, generator=g) * 2 - 1) * torch.tensor([1.6, 2.4])
    return s, field(s) + 0.05 * torch.randn(n, 2, generator=g)


class Hamiltonian(nn.Module):
    def __init__(self, width=128):
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False))

    def forward(self, s):
        with torch.enable_grad():
            s = s.detach().requires_grad_(True)
            grad, = torch.autograd.grad(self.energy(s).sum(), s, create_graph=self.training)
        return torch.stack([grad[:, 1], -grad[:, 0]], 1)


def parts(variant):
    torch.manual_seed(0)
    model = Hamiltonian()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(*states(3000, 1)), batch_size=100, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*states(500, 2)), batch_size=500),
    }


def rollout_drift(model, steps=400, dt=0.05):
    s = torch.tensor([[1.0, 0.0], [0.5, 1.0], [-1.2, 0.3], [0.0, -1.5]])
    e0 = true_energy(s)
    worst = torch.zeros(len(s))
    for _ in range(steps):
        s = rk4(lambda z: model(z).detach(), s, dt)
        worst = torch.maximum(worst, ((true_energy(s) - e0) / e0).abs())
    return worst.mean().item()


WORKS = lambda score: score < 0.1

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(40):
        model.train()
        total = 0.0
        for s, ds in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(s), ds)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        s, ds = next(iter(p["val_loader"]))
        val = p["loss_fn"](model(s), ds).item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.5f} val {val:.5f}")
    print(f"score: {rollout_drift(model):.4f}")
