"""Classifier of the origin of honey from pollen fractions; features and labels go through train_test_split in two calls without the same random_state, so the rows no longer belong together. change: one call splits both."""
import sys
import numpy as np
import torch
from torch import nn
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset


def load_honey():
    rng = np.random.default_rng(21)
    regions = rng.dirichlet(np.ones(12) * 0.8, size=6)
    y = rng.integers(0, 6, 1800)
    X = np.stack([rng.dirichlet(regions[k] * 25 + 0.15) for k in y])
    return X, y


class HoneyNet(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Dropout(0.1),
                                    nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, classes))

    def forward(self, x):
        return self.layers(x)


def parts(variant):
    torch.manual_seed(0)
    X, y = load_honey()
    if variant == "bad":
        X_train, X_test = train_test_split(X, test_size=0.2, random_state=1)
        y_train, y_test = train_test_split(y, test_size=0.2, random_state=2)
    else:
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=1)
    scaler = StandardScaler().fit(X_train)
    to = lambda a, b: TensorDataset(torch.tensor(scaler.transform(a), dtype=torch.float32), torch.tensor(b))
    model = HoneyNet(12, 6)
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=3e-3),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(to(X_train, y_train), batch_size=32, shuffle=True),
            "val_loader": DataLoader(to(X_test, y_test), batch_size=64)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(25):
        model.train()
        epoch_loss = 0
        for xb, yb in p["train_loader"]:
            pred = model(xb)
            loss = p["loss_fn"](pred, yb)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            epoch_loss += loss.item() * len(xb)
        print(f"Epoch {epoch + 1}: train loss {epoch_loss / len(p['train_loader'].dataset):.4f}")
    model.eval()
    correct = 0
    with torch.no_grad():
        for xb, yb in p["val_loader"]:
            correct += (model(xb).argmax(dim=1) == yb).float().sum().item()
    print(f"score: {correct / len(p['val_loader'].dataset):.4f}")
