"""Healthy: the mixed-precision recipe on the CPU: forward and loss under autocast in bfloat16, named blocks in an OrderedDict with in-place ReLUs, every second block recomputed by gradient checkpointing, no scaler. change: nothing, it is sound."""
import sys
from collections import OrderedDict

import torch
from sklearn.datasets import make_classification
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset


def load_plots():
    X, y = make_classification(n_samples=3000, n_features=24, n_informative=12, n_redundant=4, n_classes=5,
                               n_clusters_per_class=2, class_sep=1.6, random_state=7)
    scaler = StandardScaler().fit(X[:2400])
    X = torch.tensor(scaler.transform(X), dtype=torch.float32)
    y = torch.tensor(y)
    return TensorDataset(X[:2400], y[:2400]), TensorDataset(X[2400:], y[2400:])


def block(width):
    return nn.Sequential(OrderedDict([
        ("norm", nn.LayerNorm(width)),
        ("expand", nn.Linear(width, 2 * width)),
        ("act", nn.ReLU(inplace=True)),
        ("shrink", nn.Linear(2 * width, width)),
    ]))


class CoverNet(nn.Module):
    def __init__(self, in_features, classes, width=64, depth=4, use_checkpoint=True):
        super().__init__()
        self.use_checkpoint = use_checkpoint
        self.stem = nn.Linear(in_features, width)
        self.blocks = nn.ModuleList(block(width) for _ in range(depth))
        self.head = nn.Sequential(OrderedDict([("norm", nn.LayerNorm(width)), ("fc", nn.Linear(width, classes))]))

    def forward(self, x):
        x = self.stem(x)
        for i, blk in enumerate(self.blocks):
            if self.use_checkpoint and self.training and i % 2 == 1:
                x = x + checkpoint(blk, x, use_reentrant=False)
            else:
                x = x + blk(x)
        return self.head(x)


criterion = nn.CrossEntropyLoss()


def step(model, batch, optimizer):
    data, target = batch
    with torch.autocast(device_type="cpu", dtype=torch.bfloat16):
        output = model(data)
        loss = criterion(output, target)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()


def parts(variant):
    torch.manual_seed(0)
    train, val = load_plots()
    model = CoverNet(24, 5)
    return dict(
        model=model,
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3),
        step=step,
        train_loader=DataLoader(train, batch_size=64, shuffle=True),
        val_loader=DataLoader(val, batch_size=200),
    )


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        total = sum(step(model, batch, p["optimizer"]).item() for batch in p["train_loader"])
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f}")
    model.eval()
    correct = n = 0
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        for data, target in p["val_loader"]:
            correct += (model(data).argmax(1) == target).sum().item()
            n += len(target)
    score = correct / n
    print(f"score: {score:.4f}")
