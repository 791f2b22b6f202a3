"""Sound though the examples of a batch influence each other by design: a net that looks at the whole table (attention between rows, as in tabular in-context learning). A batch is one small data set with its own hidden rule: 24 labelled rows, 8 unlabelled, and the unlabelled rows attend to the labelled ones."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

KNOWN, ASKED, FEATURES = 24, 8, 3


class Tables(Dataset):
    """Item: rows (KNOWN + ASKED, FEATURES + 2) with the label, and a flag that it is known, as last columns; targets of the asked rows."""

    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        rule = torch.randn(n, FEATURES, 1, generator=g)
        x = torch.randn(n, KNOWN + ASKED, FEATURES, generator=g)
        y = (x @ rule > 0).float()
        label, known = 2 * y - 1, torch.ones_like(y)
        label[:, KNOWN:] = 0
        known[:, KNOWN:] = 0
        self.rows, self.target = torch.cat([x, label, known], -1), y[:, KNOWN:, 0]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i], self.target[i]


class RowAttention(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.inp = nn.Sequential(nn.Linear(FEATURES + 2, width), nn.GELU(), nn.Linear(width, width))
        self.attend = nn.ModuleList(nn.MultiheadAttention(width, 4, batch_first=True) for _ in range(2))
        self.mlp = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width)) for _ in range(2))
        self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.out = nn.Linear(width, 1)

    def forward(self, rows):  # (KNOWN + ASKED, ...): one table, its rows are the batch
        h = self.inp(rows).unsqueeze(0)
        for attend, mlp, norm in zip(self.attend, self.mlp, self.norm):
            n = norm(h)
            h = h + attend(n, n[:, :KNOWN], n[:, :KNOWN], need_weights=False)[0]
            h = h + mlp(h)
        return self.out(h[0, KNOWN:]).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    model = RowAttention()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": nn.BCEWithLogitsLoss(),
        "train_loader": DataLoader(Tables(2000, 1), batch_size=None, shuffle=True),
        "val_loader": DataLoader(Tables(200, 2), batch_size=None),
        "metric": lambda out, y: ((out > 0) == (y > 0.5)).float().mean().item(),
    }


def accuracy(model, loader):
    model.eval()
    with torch.no_grad():
        return torch.cat([(model(x) > 0) == (y > 0.5) for x, y in loader]).float().mean().item()


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts("fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(1):  # tables are as good as endless: one pass
        model.train()
        total = 0.0
        for rows, target in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(rows), target)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: {total / len(p['train_loader']):.4f} {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
