"""Healthy: digits with 40 % of the training labels replaced at random, trained with the generalised cross entropy; the loss stays high and training accuracy near 0.6, clean accuracy is good; no mistake."""
import sys

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class GCE(nn.Module):
    """(1 - p_y^q) / q, between MAE (q=1) and cross entropy (q -> 0)."""

    def __init__(self, q=0.7):
        super().__init__()
        self.q = q

    def forward(self, logits, target):
        p = logits.softmax(1).gather(1, target[:, None]).squeeze(1)
        return ((1 - p.clamp(min=1e-7) ** self.q) / self.q).mean()


def crowd_labels(y, rate, generator):
    """What the annotators gave us."""
    wrong = torch.rand(len(y), generator=generator) < rate
    return torch.where(wrong, torch.randint(0, 10, (len(y),), generator=generator), y)


def parts(variant="fixed"):
    torch.manual_seed(9)
    generator = torch.Generator().manual_seed(9)
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(data.target)
    order = torch.randperm(len(x), generator=generator)
    train, val = order[:1300], order[1300:]
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.LeakyReLU(0.1),
        nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.LeakyReLU(0.1), nn.MaxPool2d(2),
        nn.Dropout(0.3), nn.Flatten(), nn.Linear(32 * 16, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
    loader = DataLoader(TensorDataset(x[train], crowd_labels(y[train], 0.4, generator)), batch_size=50, shuffle=True)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20 * len(loader)),
        "train_loader": loader,
        "val_loader": DataLoader(TensorDataset(x[val], y[val]), batch_size=100),
        "loss_fn": GCE(),
        "metric": lambda out, target: (out.argmax(1) == target).float().mean(),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(20):
        net.train()
        loss_sum = acc_sum = 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            out = net(x)
            loss = p["loss_fn"](out, y)
            loss.backward()
            p["optimizer"].step()
            p["scheduler"].step()
            loss_sum += loss.item()
            acc_sum += p["metric"](out, y).item()
        net.eval()
        with torch.no_grad():
            hits = torch.cat([(net(x).argmax(1) == y).float() for x, y in p["val_loader"]])
        n = len(p["train_loader"])
        print(f"{epoch + 1:2d}: loss {loss_sum / n:.3f}, train acc {acc_sum / n:.3f}, val acc {hits.mean():.3f}")
    print(f"score: {hits.mean().item():.4f}")
