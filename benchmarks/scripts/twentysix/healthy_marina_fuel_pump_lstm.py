"""Sound: an LSTM forecasts the next hour's sales of a marina fuel pump from the last two days. Nothing odd: the split is by time, the scale comes from the training part, and the score is the skill over "as in the same hour yesterday"."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
WINDOW = 48


def pump_sales(hours, rng):
    t = np.arange(hours)
    day = np.maximum(0, np.sin((t % 24 - 6) / 24 * 2 * np.pi))
    weekend = np.where((t // 24) % 7 >= 5, 1.7, 1.0)
    weather = np.zeros(hours)
    for i in range(1, hours):
        weather[i] = 0.97 * weather[i - 1] + rng.normal(0, 0.12)
    litres = 40 + 160 * day * weekend * np.exp(0.5 * weather) + rng.normal(0, 8, hours)
    return litres.astype(np.float32), np.stack([np.sin(2 * np.pi * t / 24), np.cos(2 * np.pi * t / 24)], 1).astype(np.float32)


class Windows(Dataset):
    def __init__(self, sales, clock):
        self.sales, self.clock = torch.from_numpy(sales), torch.from_numpy(clock)

    def __len__(self):
        return len(self.sales) - WINDOW

    def __getitem__(self, i):
        past = slice(i, i + WINDOW)
        x = torch.cat([self.sales[past, None], self.clock[past]], dim=1)
        return x, self.sales[i + WINDOW]


class PumpLSTM(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.lstm = nn.LSTM(3, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        states, _ = self.lstm(x)
        return self.out(states[:, -1]).squeeze(-1)


def parts(variant):
    torch.manual_seed(21)
    sales, clock = pump_sales(24 * 98, np.random.default_rng(4))
    cut = 24 * 77
    mean, std = sales[:cut].mean(), sales[:cut].std()
    z = (sales - mean) / std
    model = PumpLSTM()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(Windows(z[:cut], clock[:cut]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(Windows(z[cut:], clock[cut:]), batch_size=128)}


@torch.no_grad()
def skill(model, loader):
    model.eval()
    error = naive = 0.0
    for x, y in loader:
        error += (model(x) - y).pow(2).sum().item()
        naive += (x[:, -24, 0] - y).pow(2).sum().item()
    return 1 - error / naive


WORKS = lambda score: score > 0.5

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(10):
        p["model"].train()
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(p["model"].parameters(), 1.0)
            p["optimizer"].step()
        print(f"epoch {epoch}: loss {loss.item():.3f}, skill {skill(p['model'], p['val_loader']):.3f}")
    print("score:", skill(p["model"], p["val_loader"]))
