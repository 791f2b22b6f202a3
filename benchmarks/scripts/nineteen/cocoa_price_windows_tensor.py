"""Next cocoa price from a window of min-max scaled prices, Conv1d and GRU; bad: the windows are made with torch.LongTensor, which cuts the scaled prices (0 to 1) down to zero; change: torch.FloatTensor."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.preprocessing import MinMaxScaler
from torch.utils.data import DataLoader, TensorDataset

WINDOW = 20


def prices(n=1600):
    rng = np.random.default_rng(11)
    t = np.arange(n)
    x = np.zeros(n)
    for i in range(1, n):
        x[i] = 0.95 * x[i - 1] + rng.normal(0, 0.6)
    return 2400 + 300 * np.sin(2 * np.pi * t / 60) + 120 * np.sin(2 * np.pi * t / 17) + 40 * x


def make_windows(series, tensor_type):
    xs, ys = [], []
    for i in range(len(series) - WINDOW):
        xs.append(series[i:i + WINDOW])
        ys.append(series[i + WINDOW])
    x = tensor_type(np.array(xs).tolist()).float()
    return x, torch.FloatTensor(np.array(ys).tolist())


class PriceNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 16, 3, padding=1)
        self.gru = nn.GRU(16, 32, batch_first=True)
        self.out = nn.Linear(32, 1)

    def forward(self, x):
        h = torch.relu(self.conv(x.transpose(1, 2))).transpose(1, 2)
        h, _ = self.gru(h)
        return self.out(h[:, -1])


def parts(variant):
    torch.manual_seed(0)
    p = prices().reshape(-1, 1)
    cut = 1200
    scaler = MinMaxScaler().fit(p[:cut])
    kind = torch.LongTensor if variant == "bad" else torch.FloatTensor
    train = TensorDataset(*make_windows(scaler.transform(p[:cut]), kind))
    val = TensorDataset(*make_windows(scaler.transform(p[cut:]), kind))
    model = PriceNet()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3), loss_fn=nn.MSELoss(),
                train_loader=DataLoader(train, batch_size=32, shuffle=True), val_loader=DataLoader(val, batch_size=100))


# R2 of the one-step forecast
WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(15):
        model.train()
        epoch_loss = 0.0
        for seq, label in p["train_loader"]:
            optimizer.zero_grad()
            y_pred = model(seq)
            loss = criterion(y_pred, label)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item()
        print(f"epoch: {epoch:3} loss: {epoch_loss / len(p['train_loader']):.6f}")
    model.eval()
    with torch.no_grad():
        pred = torch.cat([model(s) for s, _ in p["val_loader"]])
        real = torch.cat([l for _, l in p["val_loader"]])
    score = 1 - ((pred - real) ** 2).mean() / real.var()
    print(f"score: {score:.4f}")
