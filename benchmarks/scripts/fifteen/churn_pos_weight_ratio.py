"""Customers who leave (about 6 in 100), a tabular notebook with BCEWithLogitsLoss(pos_weight=...); bad: pos_weight is the number of positives over the number of negatives, the ratio the wrong way round, and hardly anybody is predicted to leave; change: negatives over positives. Score: balanced accuracy."""
import sys

import numpy as np
import torch
import torch.nn as nn
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, Dataset

CFG = {"epochs": 12, "lr": 2e-3, "train_bs": 64, "valid_bs": 256}


def load_churn(n=5000):
    rng = np.random.default_rng(11)
    tenure = rng.exponential(30, n)
    monthly = rng.normal(60, 20, n)
    calls = rng.poisson(1.5, n)
    contract = rng.integers(0, 3, n)
    paperless = rng.integers(0, 2, n)
    usage = rng.normal(0, 1, (n, 4))
    logit = 2.2 * (calls - 1.5) / 1.2 - 1.8 * (tenure - 30) / 30 + 1.2 * (monthly - 60) / 20 - 1.5 * contract - 1.5 * usage[:, 0] * paperless
    logit = logit + rng.logistic(0, 0.6, n)
    churn = (logit > np.quantile(logit, 0.94)).astype(np.float32)
    X = np.column_stack([tenure, monthly, calls, contract, paperless, usage]).astype(np.float32)
    return X, churn


class ChurnDataset(Dataset):
    def __init__(self, X, y):
        self.X = X
        self.y = y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, idx):
        return torch.tensor(self.X[idx]), torch.tensor([self.y[idx]])


class TabularModel(nn.Module):
    def __init__(self, num_features, hidden=64):
        super().__init__()
        self.dense1 = nn.Linear(num_features, hidden)
        self.bn1 = nn.BatchNorm1d(hidden)
        self.dense2 = nn.Linear(hidden, hidden)
        self.bn2 = nn.BatchNorm1d(hidden)
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        x = torch.relu(self.bn1(self.dense1(x)))
        x = self.drop(torch.relu(self.bn2(self.dense2(x))))
        return self.out(x)


def parts(variant):
    torch.manual_seed(0)
    X, y = load_churn()
    X_tr, X_va, y_tr, y_va = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    sc = StandardScaler().fit(X_tr)
    n_pos, n_neg = y_tr.sum(), (1 - y_tr).sum()
    weight = n_pos / n_neg if variant == "bad" else n_neg / n_pos
    model = TabularModel(X.shape[1])
    return {"model": model, "loss_fn": nn.BCEWithLogitsLoss(pos_weight=torch.tensor([weight])),
            "optimizer": torch.optim.AdamW(model.parameters(), lr=CFG["lr"]),
            "train_loader": DataLoader(ChurnDataset(sc.transform(X_tr), y_tr), batch_size=CFG["train_bs"], shuffle=True),
            "val_loader": DataLoader(ChurnDataset(sc.transform(X_va), y_va), batch_size=CFG["valid_bs"])}


WORKS = lambda score: score > 0.8


def train_fn(model, optimizer, loss_fn, dataloader):
    model.train()
    final_loss = 0
    for inputs, targets in dataloader:
        optimizer.zero_grad()
        loss = loss_fn(model(inputs), targets)
        loss.backward()
        optimizer.step()
        final_loss += loss.item()
    return final_loss / len(dataloader)


def valid_fn(model, dataloader):
    model.eval()
    with torch.no_grad():
        out = [(model(inputs).sigmoid(), targets) for inputs, targets in dataloader]
    probs, y = torch.cat([o[0] for o in out]).numpy(), torch.cat([o[1] for o in out]).numpy()
    return balanced_accuracy_score(y, probs > 0.5), (y == (probs > 0.5)).mean(), roc_auc_score(y, probs)


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(CFG["epochs"]):
        train_loss = train_fn(p["model"], p["optimizer"], p["loss_fn"], p["train_loader"])
        bal, acc, auc = valid_fn(p["model"], p["val_loader"])
        print(f"EPOCH: {epoch}, train_loss: {train_loss:.4f}, valid bal acc {bal:.3f} acc {acc:.3f} auc {auc:.3f}")
    score = float(bal)
    print(f"score: {score:.4f}")
