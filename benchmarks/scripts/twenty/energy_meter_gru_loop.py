"""GRU that forecasts the next hour of a household's electricity from the last day; bad: the training step never calls zero_grad, so the gradients of all batches add up; change: optimizer.zero_grad() before backward."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def household(hours=4000, seed=5):
    rng = np.random.default_rng(seed)
    t = np.arange(hours)
    daily = 0.8 * np.exp(-0.5 * ((t % 24 - 8) / 1.5) ** 2) + 1.3 * np.exp(-0.5 * ((t % 24 - 19) / 2.5) ** 2)
    weekend = 0.4 * ((t // 24) % 7 >= 5) * np.exp(-0.5 * ((t % 24 - 13) / 3) ** 2)
    ar = np.zeros(hours)
    for i in range(1, hours):
        ar[i] = 0.8 * ar[i - 1] + 0.06 * rng.standard_normal()
    return (0.3 + daily + weekend + ar).astype(np.float32)


def windows(series, lookback):
    xs = np.stack([series[i:i + lookback] for i in range(len(series) - lookback)])
    return torch.tensor(xs)[:, :, None], torch.tensor(series[lookback:])[:, None]


class LoadGRU(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.gru = nn.GRU(input_size=1, hidden_size=hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x):
        out, _ = self.gru(x)
        return self.head(out[:, -1])


criterion = nn.MSELoss()


def step(model, batch, optimizer):
    x, y = batch
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


def step_plain(model, batch, optimizer):
    x, y = batch
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


def parts(variant):
    torch.manual_seed(0)
    series = household()
    split = 3200
    mean, std = series[:split].mean(), series[:split].std()
    series = (series - mean) / std
    x_train, y_train = windows(series[:split], 24)
    x_val, y_val = windows(series[split - 24:], 24)
    model = LoadGRU()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        "step": step_plain if variant == "bad" else step,
        "train_loader": DataLoader(TensorDataset(x_train, y_train), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x_val, y_val), batch_size=256),
    }


WORKS = lambda score: score > 0.8  # R2 on the held-out weeks

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        model.eval()
        with torch.no_grad():
            pred = torch.cat([model(x) for x, _ in p["val_loader"]])
            true = torch.cat([y for _, y in p["val_loader"]])
        r2 = 1 - (torch.mean((pred - true) ** 2) / torch.var(true)).item()
        print(f"Epoch {epoch + 1}/12 - loss: {np.mean(losses):.4f} - val_r2: {r2:.4f}")
    print(f"score: {r2:.4f}")
