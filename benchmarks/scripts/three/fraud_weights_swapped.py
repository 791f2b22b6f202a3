"""Fraud in a table, one case in eight; the class weights are the frequencies themselves; change: the twin weighs by the inverse frequencies."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def payments(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = (torch.rand(n, generator=g) < 0.125).long()
    x = torch.randn(n, 12, generator=g)
    x[:, 0] += 0.9 * y
    x[:, 1] = torch.where(y == 1, x[:, 1].abs() * 0.8 + 0.3, x[:, 1])
    x[:, 2] += 0.9 * y * x[:, 3].sign()
    return x, y


def parts(variant):
    torch.manual_seed(0)
    x, y = payments(5000, 1)
    counts = torch.bincount(y, minlength=2).float()
    weights = counts / counts.sum() if variant == "bad" else counts.sum() / (2 * counts)
    net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 2))
    return {"model": net, "loss_fn": nn.CrossEntropyLoss(weight=weights),
            "optimizer": torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9, nesterov=True),
            "train_loader": DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*payments(3000, 2)), batch_size=500)}


WORKS = lambda score: score > 0.68       # mean of the two recalls


@torch.no_grad()
def balanced_accuracy(net, loader):
    net.eval()
    out = torch.cat([net(x).argmax(1) for x, _ in loader])
    y = torch.cat([y for _, y in loader])
    return ((out[y == 0] == 0).float().mean() + (out[y == 1] == 1).float().mean()).item() / 2


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(15):
        p["model"].train()
        total = 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f} balanced {balanced_accuracy(p['model'], p['val_loader']):.3f}")
    print(f"score: {balanced_accuracy(p['model'], p['val_loader']):.4f}")
