"""Digits read class by class from folders: the Dataset's __len__ is the number of batches (as a Keras Sequence has it), so only the first few pictures are ever seen; change: the number of pictures."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader
from sklearn.datasets import load_digits

BATCH_SIZE = 32


class DigitFolder(Dataset):
    """Pictures in the order of their class folders."""

    def __init__(self, split, batch_size=1):
        d = load_digits()
        keep = [i for i in range(len(d.target)) if (i % 5 == 0) == (split == "val")]
        keep.sort(key=lambda i: d.target[i])
        self.samples = [(d.images[i], int(d.target[i])) for i in keep]
        self.batch_size = batch_size

    def __len__(self):
        return len(self.samples) // self.batch_size

    def __getitem__(self, idx):
        img, label = self.samples[idx]
        return torch.tensor(img, dtype=torch.float32).flatten() / 16, label


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Dropout(0.2), nn.Linear(96, 48), nn.ReLU())
        self.head = nn.Linear(48, 10)

    def forward(self, x):
        return self.head(self.body(x))


def parts(variant):
    torch.manual_seed(0)
    train = DigitFolder("train", batch_size=BATCH_SIZE if variant == "bad" else 1)
    model = MLP()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(train, batch_size=BATCH_SIZE, shuffle=True),
            "val_loader": DataLoader(DigitFolder("val"), batch_size=90)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(40):
        model.train()
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        model.eval()
        correct = total = 0
        with torch.no_grad():
            for x, y in p["val_loader"]:
                correct += (model(x).argmax(1) == y).sum().item()
                total += len(y)
        if epoch % 4 == 3:
            print(f"Epoch [{epoch + 1}/40], Loss: {loss.item():.4f}, Val: {100 * correct / total:.1f} %")
    print(f"score: {correct / total:.4f}")
