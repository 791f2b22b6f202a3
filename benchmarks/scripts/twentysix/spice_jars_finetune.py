"""A convolutional network is pretrained on many photos of ten common spices and then fine-tuned on 240 photos of six rare ones. The fine-tuning runs Adam at a learning rate of 0.05, which destroys the pretrained weights in the first updates; the right change: a small learning rate (1e-3)."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SIZE, COMMON, RARE = 20, 10, 6


def spice_texture(n, kinds, seed, first_kind):
    """Each spice: a grain size, a grain shape and a mix of two colours; lit and placed at random."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, kinds, (n,), generator=g)
    recipe = torch.Generator().manual_seed(500 + first_kind)
    sigma = 0.6 + 1.8 * torch.rand(kinds, 2, generator=recipe)
    colours = 0.35 + 0.18 * torch.randn(kinds, 2, 3, generator=recipe)
    axis = torch.arange(-3, 4.0)
    images = torch.empty(n, 3, SIZE, SIZE)
    noise = torch.randn(n, 1, SIZE + 6, SIZE + 6, generator=g)
    for k in range(kinds):
        kernel = torch.exp(-axis[:, None] ** 2 / sigma[k, 0] ** 2 - axis[None, :] ** 2 / sigma[k, 1] ** 2)
        grains = torch.sigmoid(4 * F.conv2d(noise[labels == k], (kernel / kernel.norm())[None, None]))
        images[labels == k] = grains * colours[k, 0].view(3, 1, 1) + (1 - grains) * colours[k, 1].view(3, 1, 1)
    light = 0.75 + 0.5 * torch.rand(n, 1, 1, 1, generator=g)
    tint = 0.06 * torch.randn(n, 3, 1, 1, generator=g)
    return (images * light + tint + 0.08 * torch.randn(images.shape, generator=g) - 0.35) / 0.2, labels


class SpiceNet(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 48, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(48, num_classes)

    def forward(self, x):
        return self.fc(self.backbone(x))


def fit(model, loader, optimizer, loss_fn, epochs):
    model.train()
    for epoch in range(epochs):
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        yield total / len(loader)


def accuracy(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean().item()


def pretrained_model():
    model = SpiceNet(COMMON)
    loader = DataLoader(TensorDataset(*spice_texture(2500, COMMON, 1, 0)), batch_size=50, shuffle=True)
    list(fit(model, loader, torch.optim.Adam(model.parameters(), lr=2e-3), nn.CrossEntropyLoss(), epochs=4))
    return model


def parts(variant):
    torch.manual_seed(13)
    model = pretrained_model()
    model.fc = nn.Linear(model.fc.in_features, RARE)
    learning_rate = 0.05 if variant == "bad" else 1e-3
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(), "metric": accuracy,
            "optimizer": torch.optim.Adam(model.parameters(), lr=learning_rate),
            "train_loader": DataLoader(TensorDataset(*spice_texture(240, RARE, 2, 20)), batch_size=16, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*spice_texture(600, RARE, 3, 20)), batch_size=600)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for mean_loss in fit(p["model"], p["train_loader"], p["optimizer"], p["loss_fn"], epochs=15):
        print(f"loss {mean_loss:.3f}")
    p["model"].eval()
    with torch.no_grad():
        x, y = next(iter(p["val_loader"]))
        print("score:", accuracy(p["model"](x), y))
