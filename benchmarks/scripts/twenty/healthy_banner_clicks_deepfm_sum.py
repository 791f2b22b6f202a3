"""DeepFM on banner clicks, the DeepCTR way: all fields in one table with offsets, first order as embedding of size 1, binary cross-entropy summed over the batch, L2 on the tables, sigmoid in the model; sound. change: nothing."""
import sys
import numpy as np
import torch
from torch import nn
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader, TensorDataset

FIELDS = [50, 30, 12, 24, 5]


def clicks(n, seed):
    rng = np.random.default_rng(21)
    bias = [rng.normal(0, 0.5, f) for f in FIELDS]
    fac = [rng.normal(0, 0.6, (f, 3)) for f in FIELDS]
    rng = np.random.default_rng(seed)
    x = np.stack([rng.integers(0, f, n) for f in FIELDS], 1)
    v = np.stack([fac[i][x[:, i]] for i in range(5)], 1)
    inter = 0.5 * (v.sum(1) ** 2 - (v ** 2).sum(1)).sum(1)
    logit = -1.6 + sum(bias[i][x[:, i]] for i in range(5)) + 1.2 * inter
    y = rng.random(n) < 1 / (1 + np.exp(-logit))
    return torch.tensor(x), torch.tensor(y, dtype=torch.float32)


class DeepFM(nn.Module):
    def __init__(self, k=8):
        super().__init__()
        self.register_buffer("offsets", torch.tensor([0] + np.cumsum(FIELDS)[:-1].tolist()))
        self.linear, self.table = nn.Embedding(sum(FIELDS), 1), nn.Embedding(sum(FIELDS), k)
        for e in (self.linear, self.table):
            nn.init.normal_(e.weight, std=1e-4)
        self.dnn = nn.Sequential(nn.Linear(5 * k, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1, bias=False))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        idx = x + self.offsets
        v = self.table(idx)
        square_of_sum, sum_of_square = v.sum(1).pow(2), v.pow(2).sum(1)
        logit = self.linear(idx).sum(1) + 0.5 * (square_of_sum - sum_of_square).sum(1, keepdim=True) + self.dnn(v.flatten(1))
        return torch.sigmoid(logit + self.bias).squeeze(1)

    def regularization(self, l2=1e-3):
        return l2 * (self.table.weight.pow(2).sum() + self.linear.weight.pow(2).sum())


def training_step(model, batch):
    x, y = batch
    return nn.functional.binary_cross_entropy(model(x), y, reduction="sum") + 100 * model.regularization()


def parts(variant):
    torch.manual_seed(0)
    model = DeepFM()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3), training_step=training_step,
                train_loader=DataLoader(TensorDataset(*clicks(20000, 1)), 256, shuffle=True),
                val_loader=DataLoader(TensorDataset(*clicks(4000, 2)), 1000))


WORKS = lambda score: score > 0.78  # area under the curve; the true click probability itself has about 0.87

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            total += loss.item()
            loss.backward()
            opt.step()
        print(f"epoch {epoch} loss per row {total / 20000:.4f}")
    model.eval()
    with torch.no_grad():
        prob = torch.cat([model(x) for x, _ in p["val_loader"]])
    score = roc_auc_score(torch.cat([y for _, y in p["val_loader"]]), prob)
    print(f"score: {score:.4f}")
