"""MLP that predicts the yield of almond orchards from a table with very different units. Sound: features and target are standardised with training statistics only, plain MSE, AdamW with a cosine schedule stepped once an epoch."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
EPOCHS = 30


def make_table(n=3000, seed=3):
    rng = np.random.default_rng(seed)
    rain = rng.gamma(6, 60, n)                 # mm per year
    chill = rng.normal(700, 150, n)            # hours under 7 degrees
    trees = rng.integers(150, 320, n)          # per hectare
    age = rng.uniform(3, 30, n)                # years
    salinity = rng.lognormal(0.2, 0.4, n)      # dS/m
    ph = rng.normal(7.2, 0.5, n)
    hives = rng.poisson(4, n)                  # per hectare
    y = 1800 * np.tanh(rain / 350) * np.exp(-((age - 14) / 11) ** 2)
    y += 0.9 * np.clip(chill - 500, 0, 350) + 60 * np.minimum(hives, 6) - 260 * np.clip(salinity - 1.2, 0, None)
    y += 1.5 * (trees - 230) - 90 * (ph - 7) ** 2 + rng.normal(0, 90, n)
    X = np.stack([rain, chill, trees, age, salinity, ph, hives], 1)
    return X, y


def parts(variant):
    torch.manual_seed(0)
    X, y = make_table()
    X_tr, X_va, y_tr, y_va = train_test_split(X, y, test_size=0.2, random_state=0)
    scaler = StandardScaler().fit(X_tr)
    y_mean, y_std = y_tr.mean(), y_tr.std()

    def to_set(X, y):
        return TensorDataset(torch.tensor(scaler.transform(X), dtype=torch.float32),
                             torch.tensor((y - y_mean) / y_std, dtype=torch.float32).unsqueeze(1))

    model = nn.Sequential(nn.Linear(7, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
    return {"model": model, "optimizer": opt, "loss_fn": nn.MSELoss(),
            "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=EPOCHS),
            "train_loader": DataLoader(to_set(X_tr, y_tr), batch_size=64, shuffle=True),
            "val_loader": DataLoader(to_set(X_va, y_va), batch_size=600)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(EPOCHS):
        net.train()
        for xb, yb in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](net(xb), yb)
            loss.backward()
            p["optimizer"].step()
        p["scheduler"].step()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1} last batch mse {loss.item():.4f}")
    net.eval()
    with torch.no_grad():
        pred = torch.cat([net(xb) for xb, _ in p["val_loader"]])
        true = torch.cat([yb for _, yb in p["val_loader"]])
    r2 = 1 - ((pred - true) ** 2).sum() / ((true - true.mean()) ** 2).sum()
    print("score:", r2.item())
