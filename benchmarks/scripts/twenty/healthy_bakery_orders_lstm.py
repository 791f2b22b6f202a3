"""Sound LSTM forecast of daily bakery orders: no batch_first, the windows are turned to (time, batch, feature) in forward; the windows come in the order of time, without shuffling; the last 20% of the days are the test."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.preprocessing import MinMaxScaler
from torch.utils.data import DataLoader, TensorDataset


def daily_orders(days=2000):
    rng = np.random.default_rng(8)
    t = np.arange(days)
    week = np.array([0.8, 0.85, 0.9, 1.0, 1.2, 1.5, 0.5])[t % 7]
    level = 100 * (1 + 0.15 * np.sin(2 * np.pi * t / 365)) * week
    ar = np.zeros(days)
    for i in range(1, days):
        ar[i] = 0.7 * ar[i - 1] + 4 * rng.standard_normal()
    return (level + ar).astype(np.float32)


def create_inout_sequences(data, tw):
    seqs = np.stack([data[i:i + tw] for i in range(len(data) - tw)])
    return torch.tensor(seqs, dtype=torch.float32), torch.tensor(data[tw:], dtype=torch.float32)


class OrdersLSTM(nn.Module):
    def __init__(self, hidden=40):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden)
        self.linear = nn.Linear(hidden, 1)

    def forward(self, seq):                       # seq: (batch, time)
        x = seq.t().unsqueeze(-1)                 # (time, batch, 1)
        out, _ = self.lstm(x)
        return self.linear(out[-1]).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    orders = daily_orders()
    n_train = 1600
    scaler = MinMaxScaler(feature_range=(-1, 1))
    train = scaler.fit_transform(orders[:n_train, None])[:, 0]
    test = scaler.transform(orders[n_train - 28:, None])[:, 0]
    train_set = TensorDataset(*create_inout_sequences(train, 28))
    test_set = TensorDataset(*create_inout_sequences(test, 28))
    model = OrdersLSTM()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(train_set, batch_size=32, shuffle=False),
        "val_loader": DataLoader(test_set, batch_size=64, shuffle=False),
    }


WORKS = lambda score: score > 0.8  # R2 on the last 400 days

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, loss_function, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    for i in range(20):
        model.train()
        losses = []
        for seq, labels in p["train_loader"]:
            optimizer.zero_grad()
            y_pred = model(seq)
            single_loss = loss_function(y_pred, labels)
            single_loss.backward()
            optimizer.step()
            losses.append(single_loss.item())
        model.eval()
        with torch.no_grad():
            pred = torch.cat([model(s) for s, _ in p["val_loader"]])
            true = torch.cat([l for _, l in p["val_loader"]])
        r2 = 1 - ((pred - true) ** 2).mean().item() / true.var().item()
        print(f"epoch: {i:3} loss: {np.mean(losses):8.5f} test R2: {r2:.4f}")
    print(f"score: {r2:.4f}")
