"""Fraud detection on a table with 2 % positives; pos_weight is n_pos / n_neg, the inverse of what it should be, so positives count for nothing and all is called honest (accuracy 98 %, recall 0); the right change: pos_weight = n_neg / n_pos."""
import sys
import numpy as np
import torch
from sklearn.datasets import make_classification
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class FraudMLP(nn.Module):
    def __init__(self, n_in):
        super().__init__()
        self.fc1 = nn.Linear(n_in, 32)
        self.fc2 = nn.Linear(32, 16)
        self.fc3 = nn.Linear(16, 1)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        x = torch.relu(self.fc1(x))
        x = self.drop(torch.relu(self.fc2(x)))
        return self.fc3(x)


def parts(variant):
    torch.manual_seed(0)
    X, y = make_classification(8000, 12, n_informative=6, n_redundant=2, weights=[0.98], class_sep=1.2, flip_y=0.002, random_state=1)
    sc = StandardScaler().fit(X[:6000])
    X, Y = torch.tensor(sc.transform(X), dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]
    n_pos = Y[:6000].sum()
    n_neg = 6000 - n_pos
    pos_weight = n_pos / n_neg if variant == "bad" else n_neg / n_pos
    net = FraudMLP(12)
    return dict(model=net, optimizer=torch.optim.Adam(net.parameters(), lr=1e-3), loss_fn=nn.BCEWithLogitsLoss(pos_weight=pos_weight.view(1)),
                train_loader=DataLoader(TensorDataset(X[:6000], Y[:6000]), 128, shuffle=True),
                val_loader=DataLoader(TensorDataset(X[6000:], Y[6000:]), 500))


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net = p["model"]
    for e in range(15):
        net.train()
        ls = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            l = p["loss_fn"](net(x), y)
            l.backward()
            p["optimizer"].step()
            ls.append(l.item())
        print(f"Epoch {e + 1:02d}: loss {np.mean(ls):.5f}")
    net.eval()
    with torch.no_grad():
        pred = torch.cat([(torch.sigmoid(net(x)) > 0.5).float() for x, _ in p["val_loader"]])
    y = torch.cat([y for _, y in p["val_loader"]])
    print("accuracy", (pred == y).float().mean().item())
    print("score:", balanced_accuracy_score(y.numpy().ravel(), pred.numpy().ravel()))
