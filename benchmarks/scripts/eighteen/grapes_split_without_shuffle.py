"""Variety of grapes from berry measurements; the file is sorted by variety and the first four fifths become the training set, so the validation varieties were never seen. change: the rows are permuted before the split."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Subset, TensorDataset

VARIETIES = 10


def berry_table():
    rng = np.random.default_rng(63)
    centres = rng.normal(0, 1.3, (VARIETIES, 9))
    y = np.repeat(np.arange(VARIETIES), 200)
    X = centres[y] + rng.normal(0, 0.9, (len(y), 9))
    return torch.tensor(X, dtype=torch.float32), torch.tensor(y)


class BerryNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1, self.l2, self.l3 = nn.Linear(9, 64), nn.Linear(64, 32), nn.Linear(32, VARIETIES)
        self.drop = nn.Dropout(0.15)

    def forward(self, x):
        x = self.drop(torch.relu(self.l1(x)))
        return self.l3(torch.relu(self.l2(x)))


def parts(variant):
    torch.manual_seed(0)
    data = TensorDataset(*berry_table())
    n_train = int(0.8 * len(data))
    order = torch.arange(len(data)) if variant == "bad" else torch.randperm(len(data))
    train, val = Subset(data, order[:n_train].tolist()), Subset(data, order[n_train:].tolist())
    model = BerryNet()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(train, batch_size=32, shuffle=True),
            "val_loader": DataLoader(val, batch_size=100)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(15):
        model.train()
        loss_sum = 0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
            loss_sum += loss.item()
        model.eval()
        correct = val_loss = 0
        with torch.no_grad():
            for x, y in p["val_loader"]:
                out = model(x)
                val_loss += p["loss_fn"](out, y).item()
                correct += (out.argmax(1) == y).sum().item()
        print(f"epoch {epoch} train {loss_sum / len(p['train_loader']):.3f} val {val_loss / len(p['val_loader']):.3f} acc {correct / 400:.3f}")
    print(f"score: {correct / 400:.4f}")
