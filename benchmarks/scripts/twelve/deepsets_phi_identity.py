"""Sort of a jet (set of 12 particles; the sorts differ in spread only) by DeepSets, Adam; the block's `activation` setting falls back to nn.Identity for a name it does not know ("Relu"), and the sum of a linear map knows the mean only; change: the name is written "relu"."""
import sys
import torch
import torch.nn as nn
from dataclasses import dataclass
from torch.utils.data import DataLoader, TensorDataset

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


@dataclass
class Config:
    features: int = 4
    width: int = 48
    depth: int = 2
    activation: str = "relu"
    lr: float = 1e-3
    epochs: int = 12


class Block(nn.Module):
    def __init__(self, d_in, d_out, activation):
        super().__init__()
        self.linear = nn.Linear(d_in, d_out)
        self.act = ACTIVATIONS.get(activation, nn.Identity)()

    def forward(self, x):
        return self.act(self.linear(x))


class DeepSets(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        widths = [cfg.features] + [cfg.width] * cfg.depth
        self.phi = nn.Sequential(*[Block(a, b, cfg.activation) for a, b in zip(widths, widths[1:])])
        self.rho = nn.Sequential(nn.Linear(cfg.width, cfg.width), nn.ReLU(), nn.Linear(cfg.width, 3))

    def forward(self, x):
        return self.rho(self.phi(x).mean(1))


def jets(n, seed):
    """Three sorts of sets, which differ in the spread along two directions of the four features."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n,), generator=g)
    spread = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.6, 0.5, 1.0, 1.0], [0.5, 1.6, 1.0, 1.0]])[y]
    x = torch.randn(n, 12, 4, generator=g) * spread[:, None]
    x = x + 0.2 * torch.randn(n, 1, 4, generator=g)
    return TensorDataset(x, y)


def parts(variant):
    torch.manual_seed(0)
    cfg = Config(activation="Relu" if variant == "bad" else "relu")
    model = DeepSets(cfg)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=cfg.lr),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(jets(3000, 1), batch_size=50, shuffle=True),
        "val_loader": DataLoader(jets(900, 2), batch_size=300),
    }


def evaluate(model, loader):
    model.eval()
    hit = n = 0
    with torch.no_grad():
        for x, y in loader:
            hit += (model(x).argmax(1) == y).sum().item()
            n += len(y)
    return hit / n


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(Config.epochs):
        model.train()
        total = 0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            opt.step()
            total += loss.item() * len(y)
        print(f"[{epoch}] loss {total / 3000:.4f} acc {evaluate(model, p['val_loader']):.3f}")
    print(f"score: {evaluate(model, p['val_loader']):.4f}")
