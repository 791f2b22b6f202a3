"""Classifier of grain spectra trained with K-FAC: the gradient of each linear layer is multiplied by the inverses of its damped Kronecker factors (inputs and output gradients, by hooks), then trust-region scaled. Unusual: second-order preconditioning written into the step; the update is applied by plain SGD with momentum."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def spectra(n, rng):
    f = np.linspace(0, 1, 40)[None]
    y = rng.integers(0, 6, n)
    centre = np.array([0.2, 0.3, 0.45, 0.5, 0.65, 0.8])[y][:, None] + rng.normal(0, 0.015, (n, 1))
    x = rng.uniform(0.6, 1.4, (n, 1)) * np.exp(-((f - centre) / 0.05) ** 2)
    x += rng.normal(0, 0.8, (n, 1)) * f + rng.normal(0, 0.8, (n, 1))          # baseline
    x += rng.normal(0, 0.15, x.shape)
    return x.astype(np.float32), y


class KFAC:
    """running Kronecker factors of every nn.Linear in the model"""
    def __init__(self, model, decay=0.95, damping=0.03):
        self.layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
        self.decay, self.damping, self.t = decay, damping, 0
        self.A, self.G, self.inp = {}, {}, {}
        for m in self.layers:
            m.register_forward_hook(self._forward)

    def _forward(self, m, inputs, out):
        if m.training and torch.is_grad_enabled():
            a = inputs[0].detach()
            self.inp[m] = torch.cat([a, torch.ones(len(a), 1)], 1)      # last column for the bias
            out.register_hook(lambda g: self._backward(m, g))

    def _backward(self, m, grad):
        g = grad.detach() * len(grad)                                   # the loss is a mean over the batch
        a = self.inp[m]
        A, G = a.T @ a / len(a), g.T @ g / len(g)
        w = self.decay if m in self.A else 0.0
        self.A[m] = w * self.A.get(m, 0) + (1 - w) * A
        self.G[m] = w * self.G.get(m, 0) + (1 - w) * G

    @torch.no_grad()
    def precondition(self, lr, kl_clip=1e-2):
        total, new = 0.0, []
        for m in self.layers:
            A, G = self.A[m], self.G[m]
            pi = ((A.trace() / len(A)) / (G.trace() / len(G)).clamp(min=1e-8)).sqrt()
            root = self.damping ** 0.5
            grad = torch.cat([m.weight.grad, m.bias.grad[:, None]], 1)
            left = torch.linalg.solve(G + root / pi * torch.eye(len(G)), grad)
            nat = torch.linalg.solve(A + root * pi * torch.eye(len(A)), left.T).T
            total += (nat * grad).sum().item()
            new.append(nat)
        nu = min(1.0, (kl_clip / (lr ** 2 * total + 1e-12)) ** 0.5)
        for m, nat in zip(self.layers, new):
            m.weight.grad.copy_(nu * nat[:, :-1])
            m.bias.grad.copy_(nu * nat[:, -1])


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    (x, y), (xv, yv) = spectra(2000, rng), spectra(500, rng)
    mean, std = x.mean(0), x.std(0)
    model = nn.Sequential(nn.Linear(40, 48), nn.Tanh(), nn.Linear(48, 24), nn.Tanh(), nn.Linear(24, 6))
    kfac = KFAC(model)

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        kfac.precondition(optimizer.param_groups[0]["lr"])
        optimizer.step()
        return loss

    data = [TensorDataset(torch.from_numpy((a - mean) / std), torch.from_numpy(b)) for a, b in ((x, y), (xv, yv))]
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), "step": step,
            "train_loader": DataLoader(data[0], batch_size=100, shuffle=True), "val_loader": DataLoader(data[1], batch_size=250),
            "metric": lambda out, t: (out.argmax(1) == t).float().mean().item()}


WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(15):
        model.train()
        losses = [p["step"](model, b, p["optimizer"]).item() for b in p["train_loader"]]
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: {np.mean(losses):.4f}")
    model.eval()
    with torch.no_grad():
        acc = np.mean([p["metric"](model(x), y) for x, y in p["val_loader"]])
    print("score:", acc)
