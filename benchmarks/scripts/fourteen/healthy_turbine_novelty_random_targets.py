"""Healthy: novelty of turbine states by random network distillation: the targets are the outputs of a random network that is never trained, they mean
nothing, and the error on the familiar states, against that on strange ones, is the answer. Nothing to change."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SENSORS = 12


def states(n, seed, strange=False):
    g = torch.Generator().manual_seed(seed)
    wiring = torch.Generator().manual_seed(77)
    load, wind = torch.rand(n, 1, generator=g), torch.rand(n, 1, generator=g)
    a, b, c = (torch.randn(1, SENSORS, generator=wiring) for _ in range(3))
    x = a * load + b * wind + c * torch.sin(3 * load * wind) + 0.05 * torch.randn(n, SENSORS, generator=g)
    if strange:
        which = torch.randint(0, SENSORS, (n,), generator=g)
        x[torch.arange(n), which] += torch.sign(torch.randn(n, generator=g)) * 1.2
    return x


def network(width, depth):
    layers, size = [], SENSORS
    for _ in range(depth):
        layers += [nn.Linear(size, width), nn.LeakyReLU(0.1)]
        size = width
    return nn.Sequential(*layers, nn.Linear(size, 24))


class Novelty(nn.Module):
    def __init__(self):
        super().__init__()
        self.target = network(64, 2)
        for layer in self.target:
            if isinstance(layer, nn.Linear):
                nn.init.orthogonal_(layer.weight, 1.6)
        self.target.requires_grad_(False)
        self.predictor = network(48, 3)

    def forward(self, x):
        return (self.predictor(x) - self.target(x)).square().mean(1)


def training_step(model, batch):
    return model(batch[0]).mean()


def parts(variant):
    torch.manual_seed(0)
    model = Novelty()
    known = states(4000, 1)
    mean, std = known.mean(0), known.std(0)
    scale = lambda x: (x - mean) / std
    asked = torch.cat([states(500, 2), states(500, 3, strange=True)])
    label = torch.cat([torch.zeros(500), torch.ones(500)])
    return dict(model=model, optimizer=torch.optim.Adam(model.predictor.parameters(), lr=1e-3), training_step=training_step,
                train_loader=DataLoader(TensorDataset(scale(known)), 64, shuffle=True),
                val_loader=DataLoader(TensorDataset(scale(asked), label), 500))


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    from sklearn.metrics import roc_auc_score
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(25):
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch}: {total / len(p['train_loader']):.5f}")
    with torch.no_grad():
        out = [(model(x), y) for x, y in p["val_loader"]]
    error, label = (torch.cat(v).numpy() for v in zip(*out))
    score = roc_auc_score(label, error)
    print(f"score: {score:.4f}")
