"""Table regression of the oil yield of olive batches. The network returns (N, 1) and the targets come as (N,), so MSELoss broadcasts to an N by N table and the network learns the mean of the batch; the right change: squeeze the output (or unsqueeze the target)."""
import sys

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import make_friedman1
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


class PressDataset(Dataset):
    def __init__(self, X, y):
        self.X = torch.FloatTensor(X)
        self.y = torch.FloatTensor(y)

    def __len__(self):
        return len(self.X)

    def __getitem__(self, idx):
        return self.X[idx], self.y[idx]


class YieldNet(nn.Module):
    def __init__(self, n_in, squeeze):
        super().__init__()
        self.fc1 = nn.Linear(n_in, 64)
        self.fc2 = nn.Linear(64, 32)
        self.fc3 = nn.Linear(32, 1)
        self.squeeze = squeeze

    def forward(self, x):
        x = torch.relu(self.fc1(x))
        x = torch.relu(self.fc2(x))
        x = self.fc3(x)
        return x.squeeze(1) if self.squeeze else x


def parts(variant):
    torch.manual_seed(0)
    X, y = make_friedman1(n_samples=1200, n_features=10, noise=0.5, random_state=0)
    y = (y - y.mean()) / y.std()
    X_tr, X_va, y_tr, y_va = train_test_split(X, y, test_size=0.25, random_state=1)
    sc = StandardScaler().fit(X_tr)
    model = YieldNet(10, squeeze=variant != "bad")
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(PressDataset(sc.transform(X_tr), y_tr), batch_size=32, shuffle=True),
            "val_loader": DataLoader(PressDataset(sc.transform(X_va), y_va), batch_size=64)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    import warnings
    warnings.filterwarnings("ignore")
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net = p["model"]
    for epoch in range(25):
        net.train()
        epoch_loss = 0
        for X, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](net(X), y)
            loss.backward()
            p["optimizer"].step()
            epoch_loss += loss.item()
        net.eval()
        preds, truth = [], []
        with torch.no_grad():
            for X, y in p["val_loader"]:
                preds.extend(net(X).reshape(-1).tolist())
                truth.extend(y.tolist())
        r2 = r2_score(truth, preds)
        if epoch % 5 == 4:
            print(f"Epoch {epoch + 1}: loss {epoch_loss / len(p['train_loader']):.4f}, R2 {r2:.3f}")
    print("score:", r2)
