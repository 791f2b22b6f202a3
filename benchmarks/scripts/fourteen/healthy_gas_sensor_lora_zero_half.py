"""Healthy: a gas classifier trained on one sensor array is carried over to another array by low-rank adapters; the base weights are frozen and half of each
adapter starts at zero, so the other half gets no gradient at the first step. Nothing to change."""
import sys
import math
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

GASES, SENSORS = 6, 16


def measure(n, seed, drift=0.0):
    g = torch.Generator().manual_seed(seed)
    base = torch.Generator().manual_seed(99)
    profile = torch.randn(GASES, SENSORS, generator=base)
    mix = torch.eye(SENSORS) + drift * torch.randn(SENSORS, SENSORS, generator=base) / math.sqrt(SENSORS)
    y = torch.randint(0, GASES, (n,), generator=g)
    strength = 0.5 + torch.rand(n, 1, generator=g)
    x = torch.tanh(profile[y] * strength + 0.6 * torch.randn(n, SENSORS, generator=g)) @ mix.T
    return TensorDataset(x, y)


class LoRALinear(nn.Module):
    def __init__(self, base, rank=6, alpha=12):
        super().__init__()
        self.base = base
        for p in base.parameters():
            p.requires_grad_(False)
        self.down = nn.Parameter(torch.empty(rank, base.in_features))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        self.scaling = alpha / rank

    def forward(self, x):
        return self.base(x) + F.linear(F.linear(x, self.down), self.up) * self.scaling


def base_model():
    net = nn.Sequential(nn.Linear(SENSORS, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, GASES))
    opt = torch.optim.AdamW(net.parameters(), 3e-3)
    loader = DataLoader(measure(3000, 1), 64, shuffle=True)
    for epoch in range(5):
        for x, y in loader:
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()
    return net


def add_lora(net):
    for name, child in net.named_children():
        if isinstance(child, nn.Linear):
            setattr(net, name, LoRALinear(child))
    return net


def training_step(model, batch):
    x, y = batch
    return F.cross_entropy(model(x), y)


def parts(variant):
    torch.manual_seed(0)
    model = add_lora(base_model())
    trainable = [p for p in model.parameters() if p.requires_grad]
    train, val = random_split(measure(2000, 2, drift=3.0), [1500, 500], generator=torch.Generator().manual_seed(3))
    return dict(model=model, optimizer=torch.optim.AdamW(trainable, lr=4e-3, weight_decay=0.0), training_step=training_step,
                train_loader=DataLoader(train, 50, shuffle=True), val_loader=DataLoader(val, 250))


WORKS = lambda score: score > 0.85


def accuracy(model, loader):
    model.eval()
    with torch.no_grad():
        return sum((model(x).argmax(1) == y).sum().item() for x, y in loader) / len(loader.dataset)


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    print(f"before: {accuracy(model, p['val_loader']):.4f}")
    for epoch in range(15):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch}: {total / len(p['train_loader']):.4f}")
    score = accuracy(model, p["val_loader"])
    print(f"score: {score:.4f}")
