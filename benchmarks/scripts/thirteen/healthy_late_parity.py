"""Sound but late: a small tanh net learns the parity of four bits (given as -1 and 1, among two idle ones) with plain SGD; the loss stays near ln 2 for a while and then falls. Score: accuracy over all 64 rows."""
import itertools
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def rows():
    x = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=6)))
    y = (x[:, :4].prod(dim=1) > 0).long()
    return x, y


class ParityNet(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.hidden = nn.Linear(6, hidden)
        self.out = nn.Linear(hidden, 2)

    def forward(self, x):
        return self.out(torch.tanh(self.hidden(x)))


def parts(variant):
    torch.manual_seed(0)
    x, y = rows()
    model = ParityNet()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.5),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x, y), batch_size=64)}


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(1500):
        total = 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            p["optimizer"].step()
            total += loss.item() / 4
        if epoch % 100 == 0:
            print(f"epoch {epoch}: loss {total:.4f}")
    with torch.no_grad():
        x, y = rows()
        score = (net(x).argmax(1) == y).float().mean().item()
    print(f"score: {score:.4f}")
