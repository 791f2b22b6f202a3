"""GRU that forecasts a canteen's meals for the next day; F.dropout is called without training=self.training and goes on dropping in evaluation (bad). change: F.dropout(..., training=self.training)."""
import sys
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


class Meals(Dataset):
    """Twenty-one days of meals, with the weekday, and the next day's meals."""

    def __init__(self, begin, end, window=21):
        rng = np.random.default_rng(8)
        day = np.arange(2400)
        week = np.array([1.0, 1.15, 1.2, 1.05, 0.7, 0.1, 0.05])[day % 7]
        term = 1 + 0.25 * np.sign(np.sin(2 * np.pi * day / 120))
        meals = 400 * week * term * (1 + 0.04 * rng.normal(size=len(day)))
        self.meals = torch.tensor((meals - 330) / 220, dtype=torch.float32)
        self.weekday = F.one_hot(torch.tensor(day % 7), 7).float()
        self.starts, self.window = range(begin, end - window), window

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, i):
        s = self.starts[i]
        past = slice(s, s + self.window)
        return torch.cat([self.meals[past, None], self.weekday[past]], 1), self.meals[s + self.window]


class MealNet(nn.Module):
    def __init__(self, variant, hidden=48):
        super().__init__()
        self.gru = nn.GRU(8, hidden, batch_first=True)
        self.fc1 = nn.Linear(hidden, hidden)
        self.fc2 = nn.Linear(hidden, 1)
        self.variant = variant

    def drop(self, x):
        if self.variant == "bad":
            return F.dropout(x, p=0.5)
        return F.dropout(x, p=0.5, training=self.training)

    def forward(self, x):
        _, h = self.gru(x)
        h = self.drop(h[-1])
        h = self.drop(F.relu(self.fc1(h)))
        return self.fc2(h).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    net = MealNet(variant)
    return {"model": net, "loss_fn": nn.MSELoss(), "optimizer": torch.optim.Adam(net.parameters(), lr=2e-3),
            "train_loader": DataLoader(Meals(0, 1900), 32, shuffle=True), "val_loader": DataLoader(Meals(1900, 2400), 100)}


def validate(net, loader):
    net.eval()
    with torch.no_grad():
        err = torch.cat([net(x) - y for x, y in loader])
    return err.pow(2).mean().sqrt().item()


WORKS = lambda score: score < 0.22  # rmse in standard deviations

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(30):
        net.train()
        running = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](net(x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            running += loss.item()
        if epoch % 3 == 2:
            print(f"{epoch + 1:2d} train {running / len(p['train_loader']):.4f} val rmse {validate(net, p['val_loader']):.4f}")
    print(f"score: {validate(net, p['val_loader']):.4f}")
