"""Travel times in a warehouse by a mixture of experts, one expert for each aisle type; the experts are kept in a dict of a config dataclass (cfg.experts[name]), not in an nn.ModuleDict, so the optimizer never gets them and only the output layer learns; change: nn.ModuleDict."""
import sys
from dataclasses import dataclass, field
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

AISLES = ("narrow", "wide", "cold", "ramp")


def trips(n, seed):
    g = torch.Generator().manual_seed(seed)
    kind = torch.randint(0, 4, (n,), generator=g)
    x = torch.randn(n, 5, generator=g)
    a, b, c, d, e = x.unbind(1)
    law = torch.stack([a * b + d, torch.sin(2 * a) - c, (b - d).abs() * 1.5 - 1, torch.tanh(2 * e) * a + b], 1)
    y = law[torch.arange(n), kind] + 0.05 * torch.randn(n, generator=g)
    one_hot = nn.functional.one_hot(kind, 4).float()
    return torch.cat([x, one_hot], 1), (y / y.std()).unsqueeze(1)


@dataclass
class ExpertConfig:
    width: int = 48
    names: tuple = AISLES
    experts: dict = field(default_factory=dict)

    def build(self):
        for name in self.names:
            self.experts[name] = nn.Sequential(nn.Linear(5, self.width), nn.Tanh(), nn.Linear(self.width, self.width), nn.Tanh())
        return self


class TravelTime(nn.Module):
    def __init__(self, cfg, registered):
        super().__init__()
        self.cfg = cfg.build()
        self.experts = nn.ModuleDict(cfg.experts) if registered else cfg.experts
        self.out = nn.Linear(cfg.width, 1)

    def forward(self, x):
        numbers, kind = x[:, :5], x[:, 5:]
        h = torch.stack([self.experts[name](numbers) for name in self.cfg.names], 1)
        return self.out((kind.unsqueeze(-1) * h).sum(1))


def parts(variant):
    torch.manual_seed(0)
    model = TravelTime(ExpertConfig(), registered=variant != "bad")
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=15),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(*trips(3000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*trips(600, 2)), batch_size=300),
    }


@torch.no_grad()
def r2(model, loader):
    model.eval()
    out, y = map(torch.cat, zip(*[(model(x), y) for x, y in loader]))
    return (1 - (out - y).pow(2).mean() / y.var()).item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(15):
        model.train()
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        p["scheduler"].step()
        print(f"epoch {epoch + 1}: {loss.item():.4f}, R2 {r2(model, p['val_loader']):.3f}")
    print(f"score: {r2(model, p['val_loader']):.4f}")
