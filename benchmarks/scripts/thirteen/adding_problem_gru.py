"""The adding problem (sum of the two marked numbers of a sequence) with a GRU and an MLP head; bad: the loop clears the gradients of the head alone, so those of the GRU pile up over the whole training; change: zero_grad of the whole model."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LENGTH = 10


def adding(n, seed):
    g = torch.Generator().manual_seed(seed)
    value = torch.rand(n, LENGTH, generator=g)
    marks = torch.zeros(n, LENGTH)
    spots = torch.rand(n, LENGTH, generator=g).argsort(1)[:, :2]
    marks.scatter_(1, spots, 1.0)
    total = (value * marks).sum(1, keepdim=True)
    return TensorDataset(torch.stack([value, marks], -1), total)


class Adder(nn.Module):
    def __init__(self, hidden=40):
        super().__init__()
        self.encoder = nn.GRU(2, hidden, batch_first=True)
        self.head = nn.Sequential(nn.Linear(hidden, hidden), nn.ELU(), nn.Linear(hidden, 1))

    def forward(self, x):
        return self.head(self.encoder(x)[1].squeeze(0))


def parts(variant):
    torch.manual_seed(0)
    model = Adder()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    criterion = nn.MSELoss()

    def step(model, batch, optimizer):
        x, total = batch
        (model.head if variant == "bad" else model).zero_grad()
        loss = criterion(model(x), total)
        loss.backward()
        optimizer.step()
        return loss

    return {"model": model, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(adding(3000, 1), batch_size=50, shuffle=True),
            "val_loader": DataLoader(adding(500, 2), batch_size=250)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, step = p["model"], p["optimizer"], p["step"]
    for epoch in range(15):
        model.train()
        seen, summed = 0, 0.0
        for batch in p["train_loader"]:
            summed += step(model, batch, optimizer).item()
            seen += 1
        print(f"epoch {epoch + 1:2d}: mse {summed / seen:.5f}")
    model.eval()
    with torch.no_grad():
        squared = torch.cat([(model(x) - total) ** 2 for x, total in p["val_loader"]]).mean().item()
    variance = p["val_loader"].dataset.tensors[1].var().item()
    score = 1 - squared / variance
    print(f"score: {score:.4f}")
