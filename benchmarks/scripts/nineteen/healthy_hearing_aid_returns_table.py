"""Will a hearing aid be returned: a table of numbers and categories with entity embeddings, BCE with logits, early stopping; nothing is wrong. change: none."""
import sys
import copy
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

SHOPS, MODELS = 30, 12


def table(n=5000):
    rng = np.random.default_rng(8)
    shop, kind = rng.integers(0, SHOPS, n), rng.integers(0, MODELS, n)
    num = np.stack([rng.normal(70, 9, n), rng.lognormal(7, 0.4, n), rng.integers(0, 5, n), rng.exponential(10, n)], 1)
    s, k = rng.normal(0, 0.8, SHOPS), rng.normal(0, 0.8, MODELS)
    logit = s[shop] + k[kind] + 0.06 * (num[:, 0] - 70) - 0.5 * (num[:, 2] - 2) + 0.05 * (num[:, 3] - 10)
    y = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    return np.stack([shop, kind], 1), num, y


class ReturnNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.shop, self.kind = nn.Embedding(SHOPS, 8), nn.Embedding(MODELS, 4)
        self.body = nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        cats = x[:, :2].long()
        return self.body(torch.cat([self.shop(cats[:, 0]), self.kind(cats[:, 1]), x[:, 2:]], 1)).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    cats, num, y = table()
    num = StandardScaler().fit(num[:4000]).transform(num)
    x = torch.tensor(np.concatenate([cats, num], 1), dtype=torch.float32)
    y = torch.from_numpy(y)
    model = ReturnNet()
    return dict(model=model, optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2), loss_fn=nn.BCEWithLogitsLoss(),
                train_loader=DataLoader(TensorDataset(x[:4000], y[:4000]), batch_size=64, shuffle=True, drop_last=True),
                val_loader=DataLoader(TensorDataset(x[4000:], y[4000:]), batch_size=500))


# area under the ROC curve
WORKS = lambda score: score > 0.78

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, best, best_state = p["model"], 0, None
    for epoch in range(20):
        model.train()
        total = 0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            out = torch.cat([model(x) for x, _ in p["val_loader"]])
        auc = roc_auc_score(torch.cat([y for _, y in p["val_loader"]]), out)
        if auc > best:
            best, best_state, bad_epochs = auc, copy.deepcopy(model.state_dict()), 0
        else:
            bad_epochs += 1
        print(f"epoch {epoch + 1} loss {total / len(p['train_loader']):.4f} auc {auc:.4f}")
        if bad_epochs >= 5:
            break
    model.load_state_dict(best_state)
    score = best
    print(f"score: {score:.4f}")
