"""1-D CNN that names the weather type of two days of station readings (kelvin, hPa, percent, m/s); mistake: the training windows are standardised, the validation windows are passed as measured, training loss goes to 0 while validation stays at chance; change: the same scaling for validation."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader
from sklearn.preprocessing import StandardScaler

HOURS = 48
TYPES = ["front", "foehn", "calm"]


def readings(n, seed):
    rng = np.random.default_rng(seed)
    t = np.arange(HOURS)
    X, y = np.zeros((n, HOURS, 4)), rng.integers(0, 3, n)
    for i in range(n):
        when = rng.uniform(12, 36)
        bump = np.exp(-0.5 * ((t - when) / 5) ** 2)
        rise = 1 / (1 + np.exp(-(t - when) / 2))
        temp = 274 + rng.normal(0, 3) + 2 * np.sin(2 * np.pi * (t - 9) / 24)
        pres = 745 + rng.normal(0, 4) + rng.normal(0, 0.05) * t
        hum = 70 + rng.normal(0, 6) - 5 * np.sin(2 * np.pi * (t - 9) / 24)
        wind = np.abs(rng.normal(4, 1) + 0 * t)
        if TYPES[y[i]] == "front":
            pres, wind, temp, hum = pres - 6 * bump, wind + 6 * bump, temp - 4 * rise, hum + 8 * bump
        elif TYPES[y[i]] == "foehn":
            temp, hum, wind = temp + 5 * rise, hum - 18 * rise, wind + 5 * rise
        X[i] = np.stack([temp, pres, hum, wind], 1) + rng.normal(0, 1, (HOURS, 4)) * [0.7, 0.8, 2.5, 1.0]
    return X, y


class StationWindows(Dataset):
    def __init__(self, X, y, scaler=None):
        if scaler is not None:
            X = scaler.transform(X.reshape(-1, X.shape[-1])).reshape(X.shape)
        self.X = torch.tensor(X, dtype=torch.float32).permute(0, 2, 1)
        self.y = torch.tensor(y, dtype=torch.long)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, item):
        return self.X[item], self.y[item]


class WeatherNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(4, 24, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(24, 32, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(32, 32, 3, padding=1), nn.ReLU())
        self.classify = nn.Linear(32, len(TYPES))

    def forward(self, x):
        return self.classify(self.features(x).mean(dim=2))


def parts(variant):
    torch.manual_seed(0)
    X_train, y_train = readings(1200, 1)
    X_val, y_val = readings(300, 2)
    scaler = StandardScaler().fit(X_train.reshape(-1, 4))
    train_set = StationWindows(X_train, y_train, scaler)
    val_set = StationWindows(X_val, y_val) if variant == "bad" else StationWindows(X_val, y_val, scaler)
    model = WeatherNet()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), loss_fn=nn.CrossEntropyLoss(),
                train_loader=DataLoader(train_set, batch_size=40, shuffle=True), val_loader=DataLoader(val_set, batch_size=60))


WORKS = lambda score: score > 0.8   # validation accuracy

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(15):
        model.train()
        train_loss = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            opt.step()
            train_loss += loss.item() / len(p["train_loader"])
        model.eval()
        with torch.no_grad():
            right = sum((model(x).argmax(1) == y).sum().item() for x, y in p["val_loader"])
        score = right / len(p["val_loader"].dataset)
        print(f"epoch {epoch}: train loss {train_loss:.4f}  val acc {score:.3f}")
    print(f"score: {score:.4f}")
