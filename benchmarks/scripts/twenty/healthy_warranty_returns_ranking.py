"""Sound classifier for warranty returns, about 5% of the rows, without class weights: nearly no row gets a probability above one half, but the rows are only ranked, and the score is the area under the ROC curve."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset


def sold_devices(n=8000):
    rng = np.random.default_rng(17)
    price = rng.gamma(4, 60, n)
    factory = rng.integers(0, 4, n)
    batch_age = rng.uniform(0, 24, n)
    humidity = rng.normal(55, 12, n)
    shipped_km = rng.exponential(400, n)
    firmware = rng.integers(1, 6, n)
    z = (-5.6 + 0.9 * (factory == 2) + 0.05 * (humidity - 55) + 0.0012 * shipped_km + 1.2 * (firmware == 1)
         + 0.09 * batch_age + 0.8 * ((humidity > 65) & (factory == 1)))
    returned = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(np.float32)
    X = np.column_stack([price, batch_age, humidity, shipped_km, firmware, np.eye(4)[factory]])
    return X, returned


class ReturnsMLP(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(d, 48), nn.ReLU(), nn.Dropout(0.2),
                                   nn.Linear(48, 24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 1))

    def forward(self, x):
        return self.model(x).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    X, y = sold_devices()
    cut = 6000
    scaler = StandardScaler().fit(X[:cut])
    X = torch.tensor(scaler.transform(X), dtype=torch.float32)
    y = torch.tensor(y)
    model = ReturnsMLP(X.shape[1])
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4),
        "loss_fn": nn.BCEWithLogitsLoss(),
        "train_loader": DataLoader(TensorDataset(X[:cut], y[:cut]), batch_size=128, shuffle=True),
        "val_loader": DataLoader(TensorDataset(X[cut:], y[cut:]), batch_size=500),
    }


WORKS = lambda score: score > 0.72  # ROC AUC

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(20):
        model.train()
        losses = []
        for xb, yb in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            logits = torch.cat([model(xb) for xb, _ in p["val_loader"]])
            truth = torch.cat([yb for _, yb in p["val_loader"]])
        auc = roc_auc_score(truth.numpy(), logits.numpy())
        print(f"epoch {epoch + 1:2d}: loss {np.mean(losses):.4f}  AUC {auc:.4f}  above 0.5: {(logits > 0).sum().item()}")
    print(f"score: {auc:.4f}")
