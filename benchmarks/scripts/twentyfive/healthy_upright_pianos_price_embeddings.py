"""Regression of the asking price of second-hand pianos: an embedding for the maker, plain columns for age, height and condition, Huber loss on the logarithm of the price, one-cycle schedule stepped once per batch. An ordinary sound script."""
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
MAKERS = 25


class PianoAdverts(Dataset):
    def __init__(self, n, seed, maker_value):
        g = torch.Generator().manual_seed(seed)
        self.maker = torch.randint(0, MAKERS, (n,), generator=g)
        age = 60 * torch.rand(n, generator=g)
        height = 108 + 24 * torch.rand(n, generator=g)
        condition = torch.randint(1, 6, (n,), generator=g).float()
        tuned = (torch.rand(n, generator=g) < 0.6).float()
        log_price = (8.0 + maker_value[self.maker] - 0.028 * age + 0.00022 * age ** 2 + 0.03 * (height - 120)
                     + 0.18 * (condition - 3) * (1 + 0.5 * (age > 30)) + 0.1 * tuned)
        spread = torch.distributions.StudentT(4.0)
        torch.manual_seed(seed + 1)
        self.log_price = log_price + 0.15 * spread.sample((n,))
        self.numbers = torch.stack([(age - 30) / 17, (height - 120) / 7, (condition - 3) / 1.4, tuned - 0.6], 1)

    def __len__(self):
        return len(self.maker)

    def __getitem__(self, i):
        return (self.maker[i], self.numbers[i]), self.log_price[i] - 8.0


class PriceNet(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.maker = nn.Embedding(MAKERS, 6)
        self.body = nn.Sequential(nn.Linear(6 + 4, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.price = nn.Linear(width, 1)

    def forward(self, inputs):
        maker, numbers = inputs
        h = torch.cat([self.maker(maker), numbers], dim=1)
        return self.price(self.body(h)).squeeze(1)


def explained(pred, y):
    return (1 - (pred - y).var() / y.var()).item()


def parts(variant):
    maker_value = 0.7 * torch.randn(MAKERS, generator=torch.Generator().manual_seed(99))
    train, val = PianoAdverts(2500, 10, maker_value), PianoAdverts(600, 20, maker_value)
    torch.manual_seed(8)
    model = PriceNet()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3),
            "loss_fn": nn.SmoothL1Loss(beta=0.3),
            "train_loader": DataLoader(train, batch_size=50, shuffle=True),
            "val_loader": DataLoader(val, batch_size=300), "metric": explained}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    epochs = 10
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=epochs * len(p["train_loader"]))
    for epoch in range(epochs):
        model.train()
        running = 0.0
        for inputs, y in p["train_loader"]:
            loss = p["loss_fn"](model(inputs), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            cycle.step()
            running += loss.item()
        print(f"epoch {epoch}: loss {running / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        out = [(model(i), y) for i, y in p["val_loader"]]
    print("score:", p["metric"](torch.cat([o for o, _ in out]), torch.cat([y for _, y in out])))
