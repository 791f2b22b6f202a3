"""MLP regression on the Friedman table; the targets, scaled to 0..1 by MinMaxScaler, go through LongTensor and become 0 (but the one maximum), so the loss is near zero and the prediction constant; the right change: FloatTensor."""
import sys
import numpy as np
import torch
from torch import nn
from sklearn.datasets import make_friedman1
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from torch.utils.data import DataLoader, Dataset

X, Y = make_friedman1(1500, n_features=8, noise=0.5, random_state=3)
x_scaler, y_scaler = StandardScaler().fit(X[:1200]), MinMaxScaler().fit(Y[:1200, None])


class TableDataset(Dataset):
    def __init__(self, x, y, as_long):
        self.x = torch.FloatTensor(x_scaler.transform(x))
        y = y_scaler.transform(y[:, None])
        self.y = torch.LongTensor(y.astype(np.int64)) if as_long else torch.FloatTensor(y)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i].float()


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    as_long = variant == "bad"
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), 1e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TableDataset(X[:1200], Y[:1200], as_long), 32, shuffle=True),
            "val_loader": DataLoader(TableDataset(X[1200:], Y[1200:], as_long), 300)}


WORKS = lambda score: score > 0.7  # R2 in the units of the table

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(40):
        total = 0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        if epoch % 8 == 7: print(f"epoch {epoch + 1} mse {total / len(p['train_loader']):.6f}")
    with torch.no_grad():
        pred = y_scaler.inverse_transform(p["model"](torch.FloatTensor(x_scaler.transform(X[1200:]))).numpy())[:, 0]
    print("score:", 1 - ((pred - Y[1200:]) ** 2).mean() / Y[1200:].var())
