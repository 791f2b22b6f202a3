"""Shares of five parties per district from its census numbers: the network ends in a softmax and is trained with the squared error against the shares (Brier score), no cross-entropy follows; sound. The loss is small from the start because shares are small numbers."""
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def districts(n, seed):
    g = torch.Generator().manual_seed(99)
    hidden, out = torch.randn(9, 12, generator=g) / 3, torch.randn(12, 5, generator=g)
    g = torch.Generator().manual_seed(seed)
    census = torch.randn(n, 9, generator=g)
    utility = torch.tanh(census @ hidden) @ out + torch.tensor([0.6, 0.4, 0.0, -0.3, -0.9])
    shares = torch.softmax(utility + 0.1 * torch.randn(n, 5, generator=g), 1)
    return census, shares


class ShareNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(9, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 5), nn.Softmax(dim=1))

    def forward(self, census):
        return self.body(census)


def brier(pred, shares):
    return ((pred - shares) ** 2).sum(dim=1).mean()


def parts(variant):
    torch.manual_seed(0)
    net = ShareNet()
    return dict(model=net, optimizer=torch.optim.Adam(net.parameters(), lr=3e-3), loss_fn=brier,
                train_loader=DataLoader(TensorDataset(*districts(2500, 1)), batch_size=50, shuffle=True),
                val_loader=DataLoader(TensorDataset(*districts(500, 2)), batch_size=250))


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, optimizer = p["model"], p["optimizer"]
    for epoch in range(25):
        total = 0.0
        for census, shares in p["train_loader"]:
            optimizer.zero_grad()
            loss = brier(net(census), shares)
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch % 4 == 0:
            print(f"epoch {epoch}: brier {total / len(p['train_loader']):.5f}")
    with torch.no_grad():
        pred = torch.cat([net(x) for x, _ in p["val_loader"]])
    true = torch.cat([y for _, y in p["val_loader"]])
    score = 1 - ((pred - true) ** 2).sum().item() / ((true - true.mean(0)) ** 2).sum().item()
    print(f"score: {score:.4f}")
