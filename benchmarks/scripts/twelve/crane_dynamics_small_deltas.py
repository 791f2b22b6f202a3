"""Model of a crane's dynamics for planning: from state and action predict the change of the state in one tick of 2 ms, SGD with momentum; the changes are about 1e-3, the loss is tiny from the start and nothing is learned; change: the changes are divided by their own standard deviation, as the states are."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

DT = 0.002


def tick(s, a):
    """Trolley with a hanging load: x, v, angle, angular velocity."""
    x, v, th, w = s.unbind(-1)
    acc = 2.0 * a - 0.5 * v
    dw = -9.81 / 2.0 * torch.sin(th) - acc * torch.cos(th) / 2.0 - 0.1 * w
    return torch.stack([v, acc, w, dw], -1) * DT


def logs(n, seed):
    g = torch.Generator().manual_seed(seed)
    s = torch.randn(n, 4, generator=g) * torch.tensor([1.0, 0.7, 0.8, 0.9])
    a = 2 * torch.rand(n, generator=g) - 1
    d = tick(s, a)
    return torch.cat([s, a[:, None]], 1), d + 0.02 * d.std(0) * torch.randn(d.shape, generator=g)


class Standardiser:
    def __init__(self, t):
        self.mean, self.std = t.mean(0), t.std(0)

    def __call__(self, t):
        return (t - self.mean) / self.std


class Dynamics(nn.Module):
    def __init__(self, n_in=5, n_out=4, width=64):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(n_in, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, n_out))

    def forward(self, sa):
        return self.net(sa)


def parts(variant):
    torch.manual_seed(0)
    x, d = logs(4000, 1)
    xv, dv = logs(1000, 2)
    norm_x = Standardiser(x)
    norm_d = (lambda t: t) if variant == "bad" else Standardiser(d)
    model = Dynamics()
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return {
        "model": model, "optimizer": opt, "loss_fn": nn.MSELoss(),
        "scheduler": torch.optim.lr_scheduler.MultiStepLR(opt, [15], gamma=0.2),
        "train_loader": DataLoader(TensorDataset(norm_x(x), norm_d(d)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(norm_x(xv), norm_d(dv)), batch_size=250),
    }


def r2_per_component(model, loader):
    model.eval()
    with torch.no_grad():
        p = torch.cat([model(x) for x, _ in loader])
    y = torch.cat([y for _, y in loader])
    return (1 - (p - y).pow(2).mean(0) / y.var(0)).clamp(min=-1).mean().item()


WORKS = lambda score: score > 0.9


def train(variant, epochs=20):
    p = parts(variant)
    model, opt = p["model"], p["optimizer"]
    for epoch in range(epochs):
        model.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
        p["scheduler"].step()
        print(f"epoch {epoch:2d} loss {loss.item():.3e} R2 {r2_per_component(model, p['val_loader']):.3f}")
    return r2_per_component(model, p["val_loader"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    value = train(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    print(f"score: {value:.4f}")
