"""Factorization machine for clicks; the factors are tensors with requires_grad, not Parameters, so that parameters() does not give them to the optimizer; change: nn.Parameter."""
import sys
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

FIELDS = [120, 80, 12]  # user, advert, hour of the day / 2
OFFSETS = torch.tensor([0, 120, 200])


def clicks(n, seed):
    w = torch.Generator().manual_seed(42)
    u, a, h = (torch.randn(m, 4, generator=w) for m in FIELDS)
    g = torch.Generator().manual_seed(seed)
    idx = torch.stack([torch.randint(0, m, (n,), generator=g) for m in FIELDS], 1)
    score = (u[idx[:, 0]] * a[idx[:, 1]]).sum(1) + 0.7 * (a[idx[:, 1]] * h[idx[:, 2]]).sum(1)
    y = (torch.rand(n, generator=g) < torch.sigmoid(1.2 * score)).float()
    return idx + OFFSETS, y


class FactorizationMachine(nn.Module):
    def __init__(self, n_features, k=8, trainable=True):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))
        self.linear = nn.Parameter(torch.zeros(n_features))
        factors = torch.empty(n_features, k).normal_(0, 0.1)
        if trainable:
            self.factors = nn.Parameter(factors)
        else:
            self.factors = factors.requires_grad_()

    def forward(self, idx):
        v = self.factors[idx]
        pairwise = 0.5 * (v.sum(1).pow(2) - v.pow(2).sum(1)).sum(1)
        return self.bias + self.linear[idx].sum(1) + pairwise


def parts(variant):
    torch.manual_seed(0)
    train, val = clicks(30000, 1), clicks(4000, 2)
    model = FactorizationMachine(sum(FIELDS), trainable=variant != "bad")
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-6),
        "train_loader": DataLoader(TensorDataset(*train), batch_size=256, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*val), batch_size=1000),
        "loss_fn": nn.BCEWithLogitsLoss(),
    }


WORKS = lambda score: score > 0.75


@torch.no_grad()
def auc(model, loader):
    model.eval()
    out = torch.cat([model(x) for x, _ in loader])
    return roc_auc_score(torch.cat([y for _, y in loader]).numpy(), out.numpy())


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(15):
        model.train()
        total = 0.0
        for idx, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(idx), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: logloss {total / len(p['train_loader']):.4f}  auc {auc(model, p['val_loader']):.4f}")
    print(f"score: {auc(model, p['val_loader']):.4f}")
