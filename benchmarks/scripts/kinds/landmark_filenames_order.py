"""Landmark regression: images are listed by sorted() names (img_10 before img_2), the labels by number, so pairs do not belong together; change: `fixed` sorts the names by their number."""
import os
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

WORKS = lambda score: score > 0.7
SIZE = 24


def make_archive(n=1500, seed=0):
    """Stands for a folder of images and an annotation table: name -> image, and one (x, y) a row."""
    g = torch.Generator().manual_seed(seed)
    xy = torch.rand(n, 2, generator=g) * (SIZE - 8) + 4
    grid = torch.arange(SIZE).float()
    gx = (grid[None, None, :] - xy[:, 0, None, None]) ** 2
    gy = (grid[None, :, None] - xy[:, 1, None, None]) ** 2
    img = torch.exp(-(gx + gy) / 8) + 0.15 * torch.randn(n, SIZE, SIZE, generator=g)
    return {f"img_{i}.png": img[i] for i in range(n)}, xy / SIZE * 2 - 1


class Landmarks(Dataset):
    def __init__(self, archive, table, variant):
        self.archive, self.table = archive, table
        key = None
        if variant == "fixed":
            key = lambda name: int(os.path.splitext(name)[0].split("_")[1])
        self.names = sorted(archive, key=key)

    def __len__(self):
        return len(self.names)

    def __getitem__(self, i):
        return self.archive[self.names[i]].unsqueeze(0), self.table[i]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        def block(a, b):
            return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))
        self.conv = nn.Sequential(block(1, 12), block(12, 24), block(24, 24))
        self.fc = nn.Sequential(nn.Flatten(), nn.Linear(24 * 9, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, x):
        return self.fc(self.conv(x))


def parts(variant):
    torch.manual_seed(0)
    train = Landmarks(*make_archive(), variant)
    val = Landmarks(*make_archive(300, seed=1), variant)
    model = Net()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(train, batch_size=32, shuffle=True), "val_loader": DataLoader(val, batch_size=100)}


@torch.no_grad()
def test_r2(model):
    archive, table = make_archive(300, seed=2)
    model.eval()
    out = model(torch.stack([archive[f"img_{i}.png"] for i in range(300)]).unsqueeze(1))
    return (1 - ((out - table) ** 2).mean() / table.var()).item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, criterion, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    for epoch in range(15):
        model.train()
        train_loss = 0.0
        for img, xy in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(img), xy)
            loss.backward()
            optimizer.step()
            train_loss += loss.item() / len(p["train_loader"])
        model.eval()
        with torch.no_grad():
            val_loss = sum(criterion(model(i), t).item() for i, t in p["val_loader"]) / len(p["val_loader"])
        print(f"epoch {epoch + 1:2d}  train {train_loss:.4f}  val {val_loss:.4f}")
    print(f"score: {test_r2(model):.4f}")
