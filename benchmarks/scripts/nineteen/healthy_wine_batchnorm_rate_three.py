"""The cultivar of wines by an MLP with batch norm after every layer, plain SGD at a rate of 3; the norms make the rate harmless and nothing is wrong. change: none."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from torch.utils.data import DataLoader, TensorDataset


def wines():
    d = load_wine()
    order = torch.randperm(178, generator=torch.Generator().manual_seed(6))
    x, y = torch.tensor(d.data, dtype=torch.float32)[order], torch.tensor(d.target)[order]
    x = (x - x[:120].mean(0)) / x[:120].std(0)
    return x, y


def parts(variant):
    torch.manual_seed(0)
    x, y = wines()
    model = nn.Sequential(
        nn.Linear(13, 64, bias=False), nn.BatchNorm1d(64, affine=False), nn.ReLU(),
        nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64, affine=False), nn.ReLU(),
        nn.Linear(64, 3, bias=False), nn.BatchNorm1d(3, affine=False))
    optimizer = torch.optim.SGD(model.parameters(), lr=3.0)
    return dict(model=model, optimizer=optimizer, loss_fn=nn.CrossEntropyLoss(),
                scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40),
                train_loader=DataLoader(TensorDataset(x[:120], y[:120]), batch_size=24, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[120:], y[120:]), batch_size=58))


# accuracy on 58 wines
WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(40):
        net.train()
        losses = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        p["scheduler"].step()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: {sum(losses) / len(losses):.4f}")
    net.eval()
    with torch.no_grad():
        x, y = next(iter(p["val_loader"]))
        score = (net(x).argmax(1) == y).float().mean().item()
    print(f"score: {score:.4f}")
