"""CNN for eight kinds of walnut halves with stochastic weight averaging: constant SWALR after two thirds, update_bn at the end, the averaged model is scored; sound."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS, SWA_START = 9, 6


def halves(n, seed):
    ridges = F.interpolate(torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(83)), size=20, mode="bilinear")
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 8, (n,), generator=g)
    x = ridges[y] * (0.5 + torch.rand(n, 1, 1, 1, generator=g)) + 0.9 * torch.randn(n, 1, 20, 20, generator=g)
    flip = torch.rand(n, generator=g) < 0.5
    x[flip] = x[flip].flip(-1)
    return TensorDataset(x, y)


def layer(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2))


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(layer(1, 16), layer(16, 32), nn.Flatten(), nn.Dropout(0.2), nn.Linear(800, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(halves(1600, 1), batch_size=40, shuffle=True),
            "val_loader": DataLoader(halves(400, 2), batch_size=100)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    averaged = AveragedModel(model)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=SWA_START, eta_min=0.01)
    swa_scheduler = SWALR(optimizer, swa_lr=0.02, anneal_epochs=1)
    for epoch in range(EPOCHS):
        model.train()
        total = 0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch >= SWA_START:
            averaged.update_parameters(model)
            swa_scheduler.step()
        else:
            scheduler.step()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f}")
    update_bn(p["train_loader"], averaged)
    averaged.eval()
    with torch.no_grad():
        score = torch.cat([(averaged(x).argmax(1) == y).float() for x, y in p["val_loader"]]).mean().item()
    print(f"score: {score:.4f}")
