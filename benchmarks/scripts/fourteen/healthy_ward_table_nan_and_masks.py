"""Healthy: a ward's table with 30 % of the values missing: the loader hands out NaN, the network fills them with a learned value per column and adds
the mask as further inputs; some columns are almost empty. Nothing to change."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

COLUMNS = 14


def ward(n, seed):
    g = torch.Generator().manual_seed(seed)
    latent = torch.randn(n, 4, generator=g)
    mix = torch.randn(4, COLUMNS, generator=torch.Generator().manual_seed(11))
    x = latent @ mix / 2 + 0.3 * torch.randn(n, COLUMNS, generator=g)
    risk = 1.6 * latent[:, 0] - 1.2 * latent[:, 1] * latent[:, 2]
    rate = torch.full((COLUMNS,), 0.3)
    rate[[3, 9]] = 0.97
    missing = torch.rand(n, COLUMNS, generator=g) < rate
    # a laboratory value is measured more often in those who are ill
    missing[:, 5] = torch.rand(n, generator=g) < torch.sigmoid(-1.5 * risk)
    y = (risk + 0.3 * torch.randn(n, generator=g) > 0.5).float()
    return TensorDataset(x.masked_fill(missing, float("nan")), y)


class WardNet(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.fill = nn.Parameter(torch.zeros(COLUMNS))
        self.net = nn.Sequential(nn.Linear(2 * COLUMNS, hidden), nn.ReLU(), nn.Dropout(0.1),
                                 nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(hidden, 1))

    def forward(self, x):
        gone = torch.isnan(x)
        x = torch.where(gone, self.fill, torch.nan_to_num(x))
        return self.net(torch.cat([x, gone.float()], dim=1)).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    model = WardNet()
    return dict(model=model, optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2), loss_fn=nn.BCEWithLogitsLoss(),
                train_loader=DataLoader(ward(4000, 1), 64, shuffle=True), val_loader=DataLoader(ward(1000, 2), 250))


WORKS = lambda score: score > 0.82

if __name__ == "__main__":
    from sklearn.metrics import roc_auc_score
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(20):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            opt.step()
            total += loss.item() * len(x)
        print(f"epoch {epoch}: {total / len(p['train_loader'].dataset):.4f}")
    model.eval()
    with torch.no_grad():
        out = [(model(x), y) for x, y in p["val_loader"]]
    score = roc_auc_score(torch.cat([y for _, y in out]).numpy(), torch.cat([z for z, _ in out]).numpy())
    print(f"score: {score:.4f}")
