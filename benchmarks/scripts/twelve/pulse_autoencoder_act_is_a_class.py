"""Autoencoder with a code of two for pulses of any place and width; the block of the detector repository takes an activation *object* and falls back to Identity, and is given the class nn.ReLU, so the whole net is linear; change: nn.ReLU()."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

LENGTH = 64


def pulses(n, seed):
    g = torch.Generator().manual_seed(seed)
    place = 8 + 48 * torch.rand(n, 1, generator=g)
    width = 2.5 + 4 * torch.rand(n, 1, generator=g)
    x = torch.exp(-0.5 * ((torch.arange(LENGTH) - place) / width) ** 2)
    x = x + 0.03 * torch.randn(n, LENGTH, generator=g)
    return (x - 0.17) / 0.3


class Block(nn.Module):
    """Linear, batch norm, activation: act=True is the default one, a module is taken as it is, anything else means none."""

    default_act = nn.SiLU()

    def __init__(self, n_in, n_out, act=True):
        super().__init__()
        self.fc = nn.Linear(n_in, n_out, bias=False)
        self.bn = nn.BatchNorm1d(n_out)
        self.act = self.default_act if act is True else act if isinstance(act, nn.Module) else nn.Identity()

    def forward(self, x):
        return self.act(self.bn(self.fc(x)))


class AutoEncoder(nn.Module):
    def __init__(self, act, code=2):
        super().__init__()
        self.encoder = nn.Sequential(Block(LENGTH, 128, act), Block(128, 64, act), nn.Linear(64, code))
        self.decoder = nn.Sequential(Block(code, 64, act), Block(64, 128, act), nn.Linear(128, LENGTH))

    def forward(self, x):
        return self.decoder(self.encoder(x))


def explained(output, target):
    return (1 - (output - target).square().sum() / (target - target.mean(0)).square().sum()).item()


def parts(variant):
    torch.manual_seed(0)
    model = AutoEncoder(act=nn.ReLU if variant == "bad" else nn.ReLU())
    train, val = pulses(3000, 1), pulses(500, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(train, train), batch_size=100, shuffle=True),
        "val_loader": DataLoader(TensorDataset(val, val), batch_size=500),
        "scheduler": torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=30 * 40),
        "metric": explained,
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(40):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            out = model(x)
            loss = p["loss_fn"](out, y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            p["scheduler"].step()
            total += loss.item() * len(x)
        model.eval()
        with torch.no_grad():
            score = sum(p["metric"](model(x), y) for x, y in p["val_loader"]) / len(p["val_loader"])
        print(f"[{epoch + 1:02d}] train {total / 3000:.4f}  explained {score:.3f}")
    print(f"score: {score:.4f}")
