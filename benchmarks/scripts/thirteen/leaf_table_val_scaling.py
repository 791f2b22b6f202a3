"""MLP with BatchNorm on a synthetic table of plants (make_classification, columns on their own scales); bad: the training rows are standardised and the validation rows are not; change: the scaler transforms both."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset


def load():
    X, y = make_classification(n_samples=2400, n_features=12, n_informative=8, n_redundant=2, n_classes=5,
                               n_clusters_per_class=1, class_sep=1.8, random_state=4)
    rng = np.random.RandomState(4)
    X = X * rng.uniform(1, 6, 12) + rng.uniform(2, 20, 12)
    return train_test_split(X, y, test_size=0.2, random_state=1, stratify=y)


def loader(X, y, **kw):
    return DataLoader(TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(y)), **kw)


class Net(nn.Module):
    def __init__(self, inputs=12, classes=5):
        super().__init__()
        self.fc1 = nn.Linear(inputs, 64)
        self.bn1 = nn.BatchNorm1d(64)
        self.fc2 = nn.Linear(64, 32)
        self.bn2 = nn.BatchNorm1d(32)
        self.drop = nn.Dropout(0.1)
        self.fc3 = nn.Linear(32, classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.fc1(x)))
        x = torch.relu(self.bn2(self.fc2(self.drop(x))))
        return self.fc3(x)


def parts(variant):
    torch.manual_seed(0)
    X_train, X_val, y_train, y_val = load()
    scaler = StandardScaler()
    X_train = scaler.fit_transform(X_train)
    if variant != "bad":
        X_val = scaler.transform(X_val)
    net = Net()
    return {"model": net, "loss_fn": nn.CrossEntropyLoss(), "optimizer": torch.optim.AdamW(net.parameters(), lr=2e-3),
            "train_loader": loader(X_train, y_train, batch_size=64, shuffle=True),
            "val_loader": loader(X_val, y_val, batch_size=160)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(20):
        net.train()
        train_loss = 0.0
        for xb, yb in p["train_loader"]:
            out = net(xb)
            loss = p["loss_fn"](out, yb)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            train_loss += loss.item()
        net.eval()
        val_loss, ok, n = 0.0, 0, 0
        with torch.no_grad():
            for xb, yb in p["val_loader"]:
                out = net(xb)
                val_loss += p["loss_fn"](out, yb).item()
                ok += (out.argmax(1) == yb).sum().item()
                n += len(yb)
        print(f"epoch {epoch}: train {train_loss / len(p['train_loader']):.4f} val {val_loss / len(p['val_loader']):.4f} acc {ok / n:.4f}")
    score = ok / n
    print(f"score: {score:.4f}")
