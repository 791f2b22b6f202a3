"""CNN on microscope pictures that are listed folder by folder, so class by class; bad: the training loader has shuffle=False and every batch holds one class; change: shuffle=True."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

MINERALS = ["biotite", "calcite", "garnet", "olivine", "quartz", "zircon"]


def thin_section(kind, gen, size=20):
    lin = torch.arange(size, dtype=torch.float32)
    y, x = torch.meshgrid(lin, lin, indexing="ij")
    r = torch.rand(4, generator=gen)
    angle = 3.14159 * r[0]
    along = x * torch.cos(angle) + y * torch.sin(angle)
    across = -x * torch.sin(angle) + y * torch.cos(angle)
    phase = 6.28 * r[1]
    if kind == 0:
        img = torch.sin(1.6 * along + phase)
    elif kind == 1:
        img = torch.sin(0.9 * along + phase) * torch.sin(0.9 * across)
    elif kind == 2:
        d = ((x - 5 - 10 * r[2]) ** 2 + (y - 5 - 10 * r[3]) ** 2).sqrt()
        img = (d < 5).float() * 2 - 0.5
    elif kind == 3:
        img = torch.sin(0.5 * along + phase)
    elif kind == 4:
        img = 0.3 * torch.randn(size, size, generator=gen)
    else:
        img = (torch.rand(size, size, generator=gen) > 0.93).float() * 3 - 0.3
    return img + 0.4 * torch.randn(size, size, generator=gen)


class SectionFolder(Dataset):
    """Like ImageFolder: the samples are found in the order of the class folders."""

    def __init__(self, per_class, seed):
        gen = torch.Generator().manual_seed(seed)
        self.classes = MINERALS
        self.samples = []
        for index, _ in enumerate(self.classes):
            for _ in range(per_class):
                self.samples.append((thin_section(index, gen)[None], index))

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        return self.samples[i]


class MineralNet(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
        self.fc = nn.Linear(32 * 4, n_classes)

    def forward(self, x):
        return self.fc(torch.flatten(self.conv(x), 1))


def parts(variant):
    torch.manual_seed(0)
    train_set, val_set = SectionFolder(250, seed=1), SectionFolder(60, seed=2)
    model = MineralNet(len(MINERALS))
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(train_set, batch_size=25, shuffle=variant != "bad"),
        "val_loader": DataLoader(val_set, batch_size=60, shuffle=False),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(10):
        model.train()
        running = 0.0
        for images, labels in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(images), labels)
            loss.backward()
            p["optimizer"].step()
            running += loss.item()
        model.eval()
        with torch.no_grad():
            right = sum((model(im).argmax(1) == lab).sum().item() for im, lab in p["val_loader"])
        score = right / len(p["val_loader"].dataset)
        print(f"epoch {epoch}: loss {running / len(p['train_loader']):.4f}, val accuracy {score:.4f}")
    print(f"score: {score:.4f}")
