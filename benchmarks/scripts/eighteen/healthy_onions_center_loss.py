"""Metric learning of twelve onion sorts: cross-entropy plus a center loss whose centres are learned at a rate of their own (0.5) in a second param group; sound."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def onions(n, seed):
    skins = torch.randn(12, 3, 4, 4, generator=torch.Generator().manual_seed(120))
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 12, (n,), generator=g)
    x = F.interpolate(skins[y], size=16, mode="bilinear") + 0.8 * torch.randn(n, 3, 16, 16, generator=g)
    return TensorDataset(x, y)


class OnionNet(nn.Module):
    def __init__(self, dim=16, classes=12):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), nn.BatchNorm2d(24), nn.PReLU(), nn.MaxPool2d(2),
                                  nn.Conv2d(24, 32, 3, padding=1), nn.BatchNorm2d(32), nn.PReLU(), nn.MaxPool2d(2),
                                  nn.Flatten(), nn.Linear(512, dim))
        self.logits = nn.Linear(dim, classes)
        self.centers = nn.Parameter(torch.zeros(classes, dim))

    def forward(self, x):
        return self.body(x)


def training_step(model, batch):
    x, y = batch
    z = model(x)
    return F.cross_entropy(model.logits(z), y) + 0.05 * ((z - model.centers[y]) ** 2).sum(1).mean()


def parts(variant):
    torch.manual_seed(0)
    model = OnionNet()
    rest = [q for name, q in model.named_parameters() if name != "centers"]
    optimizer = torch.optim.SGD([{"params": rest}, {"params": [model.centers], "lr": 0.5, "momentum": 0.0}], lr=0.02, momentum=0.9)
    return {"model": model, "optimizer": optimizer, "training_step": training_step,
            "train_loader": DataLoader(onions(1500, 1), batch_size=48, shuffle=True),
            "val_loader": DataLoader(onions(400, 2), batch_size=100)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(10):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f}")
    model.eval()
    with torch.no_grad():
        nearest = torch.cat([(torch.cdist(model(x), model.centers).argmin(1) == y).float() for x, y in p["val_loader"]])
    print(f"score: {nearest.mean().item():.4f}")
