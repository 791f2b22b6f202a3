"""Healthy: faults of bearings learned on a test rig are carried over to a factory without labels: the features are trained against a judge of the domain
through a layer that turns the gradient's sign, so the judge's loss climbs back towards ln 2. Nothing to change."""
import sys
import math
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

FAULTS, FEATURES = 4, 12


def spectra(n, seed, factory=False):
    g = torch.Generator().manual_seed(seed)
    fixed = torch.Generator().manual_seed(21)
    centre = 1.6 * torch.randn(FAULTS, FEATURES, generator=fixed)
    centre[:, FEATURES // 2:] = 0
    y = torch.randint(0, FAULTS, (n,), generator=g)
    x = centre[y] + 0.8 * torch.randn(n, FEATURES, generator=g)
    spurious = 2.0 * torch.randn(FAULTS, FEATURES // 2, generator=fixed)
    shift = torch.randn(FEATURES // 2, generator=fixed)
    x[:, FEATURES // 2:] += 1.5 * shift if factory else 0.6 * spurious[y]
    return x, y


class TurnRound(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, strength):
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return -ctx.strength * grad, None


class DANN(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, d), nn.ReLU())
        self.fault = nn.Linear(d, FAULTS)
        self.judge = nn.Sequential(nn.Linear(d, 48), nn.ReLU(), nn.Linear(48, 1))

    def forward(self, x, strength=0.0):
        h = self.features(x)
        return self.fault(h), self.judge(TurnRound.apply(h, strength)).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    model = DANN()
    (xs, ys), (xt, _), (xv, yv) = spectra(3000, 1), spectra(3000, 2, True), spectra(1000, 3, True)
    seen = {"batches": 0}

    def training_step(model, batch):
        source, y, target = batch
        seen["batches"] += 1
        strength = 2 / (1 + math.exp(-10 * min(1.0, seen["batches"] / 900))) - 1
        fault, d = model(torch.cat([source, target]), strength)
        domain = torch.cat([torch.zeros(len(source)), torch.ones(len(target))])
        return F.cross_entropy(fault[:len(source)], y) + F.binary_cross_entropy_with_logits(d, domain)

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
    return dict(model=model, optimizer=optimizer, training_step=training_step, train_loader=DataLoader(TensorDataset(xs, ys, xt), 64, shuffle=True),
                val_loader=DataLoader(TensorDataset(xv, yv), 500))


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]

    def accuracy():
        with torch.no_grad():
            return sum((model(x)[0].argmax(1) == y).sum().item() for x, y in p["val_loader"]) / len(p["val_loader"].dataset)

    for epoch in range(30):
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch}: {total / len(p['train_loader']):.4f} factory {accuracy():.4f}")
    score = accuracy()
    print(f"score: {score:.4f}")
