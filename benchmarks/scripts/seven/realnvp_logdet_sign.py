"""RealNVP density of the swiss roll in three dimensions; the log-determinant has the sign of the sampling direction; change: `fixed` takes minus the sum of the scales."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import make_swiss_roll

STEPS = 1500
WORKS = lambda score: score < 3.6          # held-out nats a sample, by the true change of variables (a Gaussian: 4.2)


class Coupling(nn.Module):
    def __init__(self, keep, hidden=64):
        super().__init__()
        self.register_buffer("keep", torch.tensor(keep, dtype=torch.float32))
        self.net = nn.Sequential(nn.Linear(3, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 6))
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def params(self, x):
        s, t = self.net(x * self.keep).chunk(2, dim=-1)
        free = 1 - self.keep
        return 2 * torch.tanh(s / 2) * free, t * free

    def inverse(self, x):              # data -> base
        s, t = self.params(x)
        return (x - t) * torch.exp(-s) * (1 - self.keep) + x * self.keep, s

    def forward(self, z):              # base -> data
        s, t = self.params(z)
        return (z * torch.exp(s) + t) * (1 - self.keep) + z * self.keep, s


class RealNVP(nn.Module):
    def __init__(self, n_layers=9, sign=-1.0):
        super().__init__()
        self.sign = sign
        self.layers = nn.ModuleList(Coupling([float(i % 3 != j) for j in range(3)]) for i in range(n_layers))

    def to_base(self, x):
        log_det = x.new_zeros(x.shape[:-1])
        for layer in reversed(self.layers):
            x, s = layer.inverse(x)
            log_det = log_det + self.sign * s.sum(-1)
        return x, log_det

    def forward(self, x):
        z, log_det = self.to_base(x)
        log_pz = -0.5 * (z ** 2 + 1.8378770664).sum(-1)
        return log_pz + log_det


def load(n, seed):
    x, _ = make_swiss_roll(n, noise=0.3, random_state=seed)
    x = torch.tensor(x, dtype=torch.float32)
    return (x - torch.tensor([2.0, 10.5, 0.0])) / torch.tensor([6.5, 6.0, 7.0])


def parts(variant):
    torch.manual_seed(0)
    flow = RealNVP(sign=1.0 if variant == "bad" else -1.0)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)
    data = load(20000, 0)
    batches = [data[torch.randint(0, len(data), (256,))] for _ in range(STEPS)]
    training_step = lambda model, batch: -model(batch).mean()
    return dict(model=flow, optimizer=optimizer, train_loader=batches, training_step=training_step)


def true_nll(flow, x):
    jac = torch.func.vmap(torch.func.jacrev(lambda v: flow.to_base(v[None])[0][0]))(x)
    z, _ = flow.to_base(x)
    return -(-0.5 * (z ** 2 + 1.8378770664).sum(-1) + torch.linalg.slogdet(jac)[1]).mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    flow, opt = p["model"], p["optimizer"]
    for i, batch in enumerate(p["train_loader"], 1):
        opt.zero_grad()
        loss = p["training_step"](flow, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
        opt.step()
        if i % 300 == 0:
            print(f"[{i}/{STEPS}] nll {loss.item():.3f}")
    print("score:", round(true_nll(flow, load(1000, 1)), 4))
