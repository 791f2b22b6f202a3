"""Sound: a small conv backbone with BatchNorm, pretrained on eight digits, is frozen (no gradient, in eval mode) and a new linear head is trained on all ten; variant is ignored. change: none."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class Backbone(nn.Module):
    def __init__(self, dim=64):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * 16, dim), nn.ReLU())
        self.dim = dim

    def forward(self, x):
        return self.net(x)


class Classifier(nn.Module):
    def __init__(self, backbone, classes):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.dim, classes)
        for p in self.backbone.parameters():
            p.requires_grad_(False)

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x):
        with torch.no_grad():
            features = self.backbone(x)
        return self.head(features)


def pretrained_backbone(images, labels):
    backbone = Backbone()
    model = nn.Sequential(backbone, nn.Linear(backbone.dim, 8))
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    known = torch.nonzero(labels < 8).squeeze(1)
    model.train()
    for _ in range(4):
        for idx in known[torch.randperm(len(known))].split(32):
            opt.zero_grad()
            F.cross_entropy(model(images[idx]), labels[idx]).backward()
            opt.step()
    return backbone


def parts(variant):
    torch.manual_seed(0)
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(data.target)
    order = torch.randperm(len(images))
    images, labels = images[order], labels[order]
    model = Classifier(pretrained_backbone(images[:700], labels[:700]), classes=10)
    trainable = [p for p in model.parameters() if p.requires_grad]
    return {"model": model,
            "optimizer": torch.optim.Adam(trainable, lr=3e-3),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(images[700:1400], labels[700:1400]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(images[1400:], labels[1400:]), batch_size=128)}


WORKS = lambda score: score > 0.88

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        running = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            running += loss.item() / len(p["train_loader"])
        print(f"epoch {epoch}: head loss {running:.4f}")
    model.eval()
    with torch.no_grad():
        score = torch.cat([model(x).argmax(1) == y for x, y in p["val_loader"]]).float().mean().item()
    print(f"score: {score:.4f}")
