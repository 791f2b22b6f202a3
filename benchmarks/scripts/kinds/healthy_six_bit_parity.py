"""Healthy but slow: parity of six bits of a table, MSE on +-1, plain SGD: many epochs at the loss of the mean, then it falls; nothing to change."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

BITS, EPOCHS = 6, 1000
WORKS = lambda score: score > 0.95


def all_rows():
    i = torch.arange(2 ** BITS)
    x = ((i[:, None] >> torch.arange(BITS)) & 1).float() * 2 - 1
    return x, x.prod(1, keepdim=True)


class Net(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.l1, self.l2 = nn.Linear(BITS, hidden), nn.Linear(hidden, 1)

    def forward(self, x):
        return self.l2(torch.tanh(self.l1(x)))


def parts(variant="fixed"):
    torch.manual_seed(0)
    x, y = all_rows()
    model = Net()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.05), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True), "val_loader": [(x, y)],
            "metric": lambda o, t: (o.sign() == t).float().mean()}


def main(variant):
    p = parts(variant)
    for epoch in range(EPOCHS):
        total = 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            total += loss.item() * len(x) / 2 ** BITS
        if epoch % 50 == 0:
            print(f"{epoch:4d} {total:.4f}")
    x, y = all_rows()
    with torch.no_grad():
        print("score:", p["metric"](p["model"](x), y).item())


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fixed")
