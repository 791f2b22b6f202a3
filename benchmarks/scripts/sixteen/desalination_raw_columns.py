"""Energy use of a desalination plant from its hourly log (pascals, kelvins, milligrams per litre, litres); bad: the columns go in as logged; change: a StandardScaler fitted on the training rows."""
import sys
import numpy as np
import torch
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def hourly_log(n=3000, seed=8):
    rng = np.random.default_rng(seed)
    feed_pressure = rng.normal(5.6e6, 4e5, n)
    temperature = rng.normal(294, 5, n)
    salinity = rng.normal(36500, 1800, n)
    flow = rng.gamma(20, 4000, n)
    ph = rng.normal(8.1, 0.1, n)
    membrane_age = rng.uniform(0, 1500, n)
    kwh = 3.2 + 0.5 * (feed_pressure - 5.6e6) / 4e5 - 0.3 * (temperature - 294) / 5 + 0.4 * (salinity - 36500) / 1800
    kwh += 0.5 * (membrane_age / 1500) ** 2 + 0.2 * (flow - 80000) / 18000 + rng.normal(0, 0.15, n)
    return np.column_stack([feed_pressure, temperature, salinity, flow, ph, membrane_age]), kwh[:, None]


class Regressor(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.fc1 = nn.Linear(d, 48)
        self.fc2 = nn.Linear(48, 48)
        self.fc3 = nn.Linear(48, 1)

    def forward(self, x):
        x = torch.tanh(self.fc1(x))
        x = torch.tanh(self.fc2(x))
        return self.fc3(x)


def parts(variant):
    torch.manual_seed(0)
    X, y = hourly_log()
    X_train, X_val, y_train, y_val = X[:2400], X[2400:], y[:2400], y[2400:]
    if variant != "bad":
        scaler = StandardScaler().fit(X_train)
        X_train, X_val = scaler.transform(X_train), scaler.transform(X_val)
    t = lambda a: torch.tensor(a, dtype=torch.float32)
    model = Regressor(6)
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3), loss_fn=nn.MSELoss(),
                train_loader=DataLoader(TensorDataset(t(X_train), t(y_train)), batch_size=32, shuffle=True),
                val_loader=DataLoader(TensorDataset(t(X_val), t(y_val)), batch_size=200))


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    history = []
    for epoch in range(25):
        model.train()
        batch_losses = []
        for X, y in p["train_loader"]:
            y_pred = model(X)
            loss = p["loss_fn"](y_pred, y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            batch_losses.append(loss.item())
        history.append(np.mean(batch_losses))
        print(f"epoch {epoch:02d}: mse {history[-1]:.4f}")
    model.eval()
    with torch.no_grad():
        y_hat = np.concatenate([model(X).numpy() for X, _ in p["val_loader"]])
    score = r2_score(np.concatenate([y.numpy() for _, y in p["val_loader"]]), y_hat)
    print(f"score: {score:.4f}")
