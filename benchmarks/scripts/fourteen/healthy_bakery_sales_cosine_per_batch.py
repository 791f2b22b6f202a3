"""Bakery sales of tomorrow from 28 days and weather, vanilla tanh RNN, SGD, cosine schedule stepped after every batch with T_max = all batches of the run, and clipping at a small norm in almost every step; sound: both are set for that."""
import math
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

DAYS, EPOCHS = 28, 14


def shops(n, seed):
    g = torch.Generator().manual_seed(seed)
    day = torch.arange(DAYS + 1).float() + torch.randint(0, 7, (n, 1), generator=g)
    weekday = (day % 7).long()
    profile = torch.tensor([0.8, 0.8, 0.9, 0.9, 1.2, 1.7, 0.3])[weekday]
    temp = 15 + 8 * torch.randn(n, 1, generator=g) + 3 * torch.randn(n, DAYS + 1, generator=g)
    size = torch.exp(0.4 * torch.randn(n, 1, generator=g))
    sales = size * profile * (1 - 0.015 * (temp - 15)) * torch.exp(0.05 * torch.randn(n, DAYS + 1, generator=g))
    x = torch.stack([sales[:, :-1] - 1, (temp[:, :-1] - 15) / 8, (temp[:, 1:] - 15) / 8,
                     torch.sin(2 * math.pi * day[:, :-1] / 7), torch.cos(2 * math.pi * day[:, :-1] / 7)], 2)
    return x, sales[:, -1:] - 1


class SalesRNN(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.rnn = nn.RNN(5, hidden, batch_first=True)
        self.head = nn.Sequential(nn.Linear(hidden, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        out, _ = self.rnn(x)
        return self.head(out[:, -1])


def parts(variant):
    torch.manual_seed(0)
    train = DataLoader(TensorDataset(*shops(3000, 1)), batch_size=30, shuffle=True)
    model = SalesRNN()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS * len(train))
    mse = nn.MSELoss()

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = mse(model(x), y)
        loss.backward()
        step.norm = nn.utils.clip_grad_norm_(model.parameters(), 0.05).item()
        optimizer.step()
        scheduler.step()
        return loss

    return dict(model=model, optimizer=optimizer, step=step, train_loader=train,
                val_loader=DataLoader(TensorDataset(*shops(600, 2)), batch_size=200))


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, step = p["model"], p["step"]
    for epoch in range(EPOCHS):
        losses, norms = [], []
        for batch in p["train_loader"]:
            losses.append(step(model, batch, p["optimizer"]).item())
            norms.append(step.norm)
        clipped = sum(v > 0.05 for v in norms) / len(norms)
        print(f"epoch {epoch}: mse {sum(losses) / len(losses):.4f}  clipped {clipped:.2f}  lr {p['optimizer'].param_groups[0]['lr']:.4f}")
    with torch.no_grad():
        pred = torch.cat([model(x) for x, _ in p["val_loader"]])
    true = torch.cat([y for _, y in p["val_loader"]])
    score = 1 - (pred - true).pow(2).mean().item() / true.var().item()
    print(f"score: {score:.4f}")
