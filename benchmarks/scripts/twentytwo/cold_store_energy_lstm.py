"""Daily energy of a cold store from the 24 hourly sensor rows with an LSTM; the validation summer is standardised with its own mean and deviation (fit_transform a second time), so its hot days look like average days and the forecast is far too low; the right change: transform it with the scaler fitted on the training days."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


def make_year(rng, n_days=600):
    # hourly rows: outdoor temperature, humidity, door openings, product intake
    day = np.arange(n_days)
    season = 9 - 11 * np.cos(2 * np.pi * (day - 20) / 365)
    base = season + np.convolve(rng.normal(0, 2.5, n_days + 4), np.ones(5) / 5 ** 0.5, "valid")
    hours = np.arange(24)
    temp = base[:, None] + 4 * np.sin(2 * np.pi * (hours - 9) / 24) + rng.normal(0, 0.5, (n_days, 24))
    hum = 75 - 1.0 * (temp - 9) + rng.normal(0, 5, (n_days, 24))
    doors = rng.poisson(3 + 3 * ((hours > 6) & (hours < 19)), (n_days, 24)).astype(float)
    intake = (rng.random((n_days, 24)) < 0.15) * rng.gamma(4, 2, (n_days, 24))
    rows = np.stack([temp, hum, doors, intake], -1)
    kwh = 120 + 5.0 * temp.mean(1) + 0.12 * np.clip(temp, 0, None).max(1) ** 2 + 0.9 * (doors * np.clip(temp + 5, 0, None)).mean(1) / 4 \
        + 1.2 * intake.sum(1) + rng.normal(0, 4, n_days)
    return rows, kwh


class DaysDataset(Dataset):
    def __init__(self, rows, kwh):
        self.rows = torch.tensor(rows, dtype=torch.float32)
        self.kwh = torch.tensor(kwh, dtype=torch.float32)

    def __len__(self):
        return len(self.kwh)

    def __getitem__(self, i):
        return self.rows[i], self.kwh[i]


class EnergyLSTM(nn.Module):
    def __init__(self, n_in=4, hidden=32):
        super().__init__()
        self.lstm = nn.LSTM(n_in, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.head(out.mean(1)).squeeze(-1)


def r2(output, target):
    return (1 - ((output - target) ** 2).sum() / ((target - target.mean()) ** 2).sum()).item()


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    rows, kwh = make_year(rng)
    # train: the first 17 months, validation: the following summer weeks
    cut = 530
    xtr, xva, ytr, yva = rows[:cut], rows[cut:], kwh[:cut], kwh[cut:]

    scaler = StandardScaler()
    xtr = scaler.fit_transform(xtr.reshape(-1, 4)).reshape(xtr.shape)
    if variant == "bad":
        xva = scaler.fit_transform(xva.reshape(-1, 4)).reshape(xva.shape)
    else:
        xva = scaler.transform(xva.reshape(-1, 4)).reshape(xva.shape)
    mu, sd = ytr.mean(), ytr.std()
    ytr, yva = (ytr - mu) / sd, (yva - mu) / sd

    model = EnergyLSTM()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(DaysDataset(xtr, ytr), batch_size=32, shuffle=True),
            "val_loader": DataLoader(DaysDataset(xva, yva), batch_size=128), "metric": r2}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(50):
        net.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = criterion(net(x), y)
            loss.backward()
            opt.step()
            total += loss.item() * len(y)
        if epoch % 5 == 4:
            net.eval()
            with torch.no_grad():
                x, y = next(iter(p["val_loader"]))
                score = r2(net(x), y)
            print(f"epoch {epoch + 1}: train mse {total / len(p['train_loader'].dataset):.4f}  val R2 {score:.3f}")
    print("score:", score)
