"""Age class of tortoises (nine ordered classes) from pictures of growth rings by CORAL: one shared weight vector, eight separate biases; sound."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

CLASSES = 9


def rings(n, seed):
    g = torch.Generator().manual_seed(seed)
    age = torch.randint(0, CLASSES, (n,), generator=g)
    rr, cc = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    centre = 12 + 1.5 * torch.randn(2, n, 1, 1, generator=g)
    radius = ((rr - centre[0]) ** 2 + (cc - centre[1]) ** 2).sqrt()
    frequency = (0.5 + 0.2 * age.float())[:, None, None]
    x = torch.cos(frequency * radius) * (radius < 11)
    return TensorDataset(x[:, None] + 0.3 * torch.randn(n, 1, 24, 24, generator=g), age)


class CoralNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
                                      nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
                                      nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.rank = nn.Linear(128, 1, bias=False)
        self.biases = nn.Parameter(torch.arange(CLASSES - 1, 0, -1).float() / (CLASSES - 1))

    def forward(self, x):
        return self.rank(self.features(x)) + self.biases


def coral_loss(logits, age):
    levels = (age[:, None] > torch.arange(CLASSES - 1)).float()
    return -(F.logsigmoid(logits) * levels + (F.logsigmoid(logits) - logits) * (1 - levels)).sum(1).mean()


def parts(variant):
    torch.manual_seed(0)
    model = CoralNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3), "loss_fn": coral_loss,
            "train_loader": DataLoader(rings(1600, 1), batch_size=40, shuffle=True),
            "val_loader": DataLoader(rings(300, 2), batch_size=100)}


WORKS = lambda score: score < 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        losses = []
        for x, age in p["train_loader"]:
            loss = p["loss_fn"](model(x), age)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch} coral loss {sum(losses) / len(losses):.4f}")
    model.eval()
    with torch.no_grad():
        off = torch.cat([((model(x) > 0).sum(1) - age).abs().float() for x, age in p["val_loader"]])
    print(f"score: {off.mean().item():.4f}")
