"""Table classifier of ski bindings that will come back to the workshop (3 of 100). Cross entropy on the raw mix makes it call every binding good: 97% accuracy, and hardly one bad binding found; the right change: weigh the rare class up (CrossEntropyLoss(weight=...))."""
import sys

import numpy as np
import torch
import torch.nn as nn
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def bindings(n=6000, seed=4):
    rng = np.random.default_rng(seed)
    returned = (rng.random(n) < 0.03).astype(int)
    X = rng.normal(size=(n, 8))
    X[:, 0] += 1.3 * returned     # days in use
    X[:, 1] -= 0.9 * returned     # torque at the test
    X[:, 2] += 0.8 * returned     # play in the heel piece
    return X.astype(np.float32), returned


def parts(variant):
    torch.manual_seed(0)
    X, y = bindings()
    X_tr, X_va, y_tr, y_va = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
    weight = None
    if variant != "bad":
        counts = np.bincount(y_tr)
        weight = torch.tensor(len(y_tr) / (2 * counts), dtype=torch.float32)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 2))
    train = TensorDataset(torch.from_numpy(X_tr), torch.from_numpy(y_tr))
    val = TensorDataset(torch.from_numpy(X_va), torch.from_numpy(y_va))
    return {"model": model,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2),
            "loss_fn": nn.CrossEntropyLoss(weight=weight),
            "train_loader": DataLoader(train, batch_size=64, shuffle=True),
            "val_loader": DataLoader(val, batch_size=300)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(12):
        model.train()
        for X, y in p["train_loader"]:
            loss = p["loss_fn"](model(X), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        model.eval()
        pred, true = [], []
        with torch.no_grad():
            for X, y in p["val_loader"]:
                pred += model(X).argmax(1).tolist()
                true += y.tolist()
        acc = np.mean(np.array(pred) == np.array(true))
        bal = balanced_accuracy_score(true, pred)
        print(f"epoch {epoch}: loss {loss.item():.3f} acc {acc:.3f} balanced acc {bal:.3f}")
    print("score:", bal)
