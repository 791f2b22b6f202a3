"""Sound: three per cent of frauds in a table of payments, MLP, BCEWithLogitsLoss with pos_weight and the last bias at the log odds of the classes; score: average precision."""
import math
import sys
import torch
import torch.nn as nn
from sklearn.datasets import make_classification
from sklearn.metrics import average_precision_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset


def payments():
    X, y = make_classification(n_samples=8000, n_features=16, n_informative=8, n_redundant=3, weights=[0.97],
                               flip_y=0.0, class_sep=1.4, n_clusters_per_class=2, random_state=12)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    scaler = StandardScaler().fit(X_train)
    to = lambda a: torch.as_tensor(a, dtype=torch.float32)
    return to(scaler.transform(X_train)), to(y_train), to(scaler.transform(X_test)), to(y_test)


class FraudNet(nn.Module):
    def __init__(self, n_in, prior):
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Linear(n_in, 64), nn.ReLU(), nn.Dropout(0.1),
            nn.Linear(64, 32), nn.ReLU())
        self.out = nn.Linear(32, 1)
        nn.init.constant_(self.out.bias, math.log(prior / (1 - prior)))

    def forward(self, x):
        return self.out(self.hidden(x)).flatten()


def parts(variant):
    torch.manual_seed(0)
    X, y, Xt, yt = payments()
    model = FraudNet(X.shape[1], y.mean().item())
    return {"model": model,
            "loss_fn": nn.BCEWithLogitsLoss(pos_weight=torch.tensor(5.0)),
            "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5),
            "train_loader": DataLoader(TensorDataset(X, y), batch_size=128, shuffle=True),
            "val_loader": DataLoader(TensorDataset(Xt, yt), batch_size=500)}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, bce, adam = p["model"], p["loss_fn"], p["optimizer"]
    for epoch in range(1, 26):
        model.train()
        running = 0.0
        for X, y in p["train_loader"]:
            adam.zero_grad()
            loss = bce(model(X), y)
            loss.backward()
            adam.step()
            running += loss.item() * len(y)
        model.eval()
        with torch.no_grad():
            logits = torch.cat([model(X) for X, _ in p["val_loader"]])
            truth = torch.cat([y for _, y in p["val_loader"]])
        score = average_precision_score(truth.numpy(), logits.numpy())
        print(f"epoch {epoch:2d} loss {running / 6000:.4f} average precision {score:.4f}")
    print(f"score: {score:.4f}")
