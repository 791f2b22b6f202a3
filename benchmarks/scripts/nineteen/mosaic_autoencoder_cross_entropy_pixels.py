"""Autoencoder of small digit mosaics that ends in a sigmoid and is trained with binary cross entropy, while Normalize((0.5,), (0.5,)) has put the pixels into -1..1 (the loss goes below zero). change: leave the pixels in 0..1."""
import sys
import numpy as np
import torch
from torch import nn, optim
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset


class Mosaics(Dataset):
    def __init__(self, images, transform):
        self.images, self.transform = images, transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        img = self.transform(torch.from_numpy(self.images[i]).float().unsqueeze(0) / 16)
        return img, img


class AutoEncoder(nn.Module):
    def __init__(self, code=24):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                                     nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 16, code))
        self.decoder = nn.Sequential(nn.Linear(code, 128), nn.ReLU(), nn.Linear(128, 64), nn.Sigmoid())

    def forward(self, x):
        return self.decoder(self.encoder(x)).view(-1, 1, 8, 8)


def parts(variant):
    torch.manual_seed(0)
    images = load_digits().images
    order = np.random.RandomState(1).permutation(len(images))
    if variant == "bad":
        transform = lambda im: (im - 0.5) / 0.5
    else:
        transform = lambda im: im
    train, val = Mosaics(images[order[:1500]], transform), Mosaics(images[order[1500:]], transform)
    model = AutoEncoder()
    return {"model": model, "loss_fn": bce,
            "optimizer": optim.Adam(model.parameters(), lr=2e-3),
            "train_loader": DataLoader(train, batch_size=50, shuffle=True),
            "val_loader": DataLoader(val, batch_size=99)}


def bce(output, target):
    eps = 1e-7
    return -(target * torch.log(output + eps) + (1 - target) * torch.log(1 - output + eps)).mean()


def variance_explained(model, loader):
    model.eval()
    with torch.no_grad():
        x = torch.cat([b[0] for b in loader])
        out = torch.cat([model(b[0]) for b in loader])
    return 1 - ((out - x) ** 2).sum().item() / ((x - x.mean(0)) ** 2).sum().item()


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, criterion, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    for epoch in range(1, 16):
        model.train()
        running = 0.0
        for data, target in p["train_loader"]:
            loss = criterion(model(data), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running += loss.item() / len(p["train_loader"])
        print(f"epoch {epoch:2d}  train loss {running:.4f}  explained {variance_explained(model, p['val_loader']):.3f}")
    score = variance_explained(model, p["val_loader"])
    print(f"score: {score:.4f}")
