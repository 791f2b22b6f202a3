"""Sales of umbrellas tomorrow from two weeks of weather and sales, a plain LSTM; nothing is wrong. change: none."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def history(days=1400):
    rng = np.random.default_rng(2)
    rain = np.zeros(days)
    for i in range(1, days):
        rain[i] = 0.8 * rain[i - 1] + rng.normal()
    season = np.sin(2 * np.pi * np.arange(days) / 90)
    sales = 40 + 12 * rain + 10 * season + rng.normal(0, 3, days)
    return np.stack([rain, season, sales], 1)


def windows(table, mean, std, length=14):
    z = (table - mean) / std
    x = np.stack([z[i:i + length] for i in range(len(z) - length)])
    return TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(z[length:, 2:3], dtype=torch.float32))


class SalesLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 32, batch_first=True)
        self.drop = nn.Dropout(0.1)
        self.linear = nn.Linear(32, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.linear(self.drop(out[:, -1, :]))


def parts(variant):
    torch.manual_seed(0)
    table = history()
    train, val = table[:1100], table[1100:]
    mean, std = train.mean(0), train.std(0)
    model = SalesLSTM()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    return dict(model=model, optimizer=optimizer, loss_fn=nn.HuberLoss(),
                scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3),
                train_loader=DataLoader(windows(train, mean, std), batch_size=32, shuffle=True),
                val_loader=DataLoader(windows(val, mean, std), batch_size=64))


# R2 on the later days (the noise allows about 0.65)
WORKS = lambda score: score > 0.45

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(15):
        model.train()
        train_loss = 0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            train_loss += loss.item() / len(p["train_loader"])
        model.eval()
        with torch.no_grad():
            out = torch.cat([model(x) for x, _ in p["val_loader"]])
            y = torch.cat([y for _, y in p["val_loader"]])
        val_loss = criterion(out, y).item()
        p["scheduler"].step(val_loss)
        print(f"epoch {epoch + 1} train {train_loss:.4f} val {val_loss:.4f}")
    score = 1 - ((out - y) ** 2).mean() / y.var()
    print(f"score: {score:.4f}")
