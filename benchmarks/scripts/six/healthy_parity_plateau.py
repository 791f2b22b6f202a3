"""Parity of three of sixteen bits with plain SGD, healthy: the loss stands at log 2 for many epochs before it falls; no mistake."""
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda acc: acc > 0.95
EPOCHS = 60


def make(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 2, (n, 16), generator=g).float() * 2 - 1
    return TensorDataset(x, (x[:, 2] * x[:, 7] * x[:, 11]).unsqueeze(1))


class ParityNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(16, 128)
        self.readout = nn.Linear(128, 1)

    def forward(self, x):
        return self.readout(torch.relu(self.hidden(x)))


def parts(variant="fixed"):
    torch.manual_seed(0)
    net = ParityNet()
    return {
        "model": net,
        "optimizer": torch.optim.SGD(net.parameters(), lr=0.02, weight_decay=1e-4),
        "train_loader": DataLoader(make(6000, 0), batch_size=32, shuffle=True),
        "val_loader": DataLoader(make(1000, 1), batch_size=1000),
        "loss_fn": nn.SoftMarginLoss(),
        "metric": lambda o, y: (o.sign() == y).float().mean(),
    }


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, sgd, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(EPOCHS):
        total = 0.0
        for x, y in p["train_loader"]:
            sgd.zero_grad()
            loss = loss_fn(net(x), y)
            loss.backward()
            sgd.step()
            total += loss.item()
        with torch.no_grad():
            acc = sum(p["metric"](net(x), y).item() for x, y in p["val_loader"])
        if epoch % 5 == 4:
            print(epoch + 1, "loss %.4f" % (total / len(p["train_loader"])), "accuracy %.3f" % acc)
    print("score:", round(acc, 4))
