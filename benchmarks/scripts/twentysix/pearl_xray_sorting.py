"""Small CNN that looks for a pearl in the X-ray of a farmed mussel; one mussel in twelve has one. pos_weight is the number of pearls over the number of empty mussels, which makes the rare class rarer still; the right change: empty mussels over pearls."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIZE = 20


class MusselXrays(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        r = lambda *s: torch.rand(*s, generator=g)
        yy, xx = torch.meshgrid(torch.arange(SIZE).float(), torch.arange(SIZE).float(), indexing="ij")
        cy, cx = 9.5 + 2 * (r(n, 1, 1) - 0.5), 9.5 + 2 * (r(n, 1, 1) - 0.5)
        a, b = 6 + 2 * r(n, 1, 1), 4 + 1.5 * r(n, 1, 1)
        shell = torch.sigmoid(4 * (1 - ((xx - cx) / a) ** 2 - ((yy - cy) / b) ** 2))
        folds = 0.15 * torch.sin(0.8 * xx + 6 * r(n, 1, 1)) * shell
        self.labels = (r(n) < 1 / 12).float()
        py, px = cy + 4 * (r(n, 1, 1) - 0.5), cx + 6 * (r(n, 1, 1) - 0.5)
        contrast = (0.25 + 0.35 * r(n, 1, 1)) * self.labels.view(-1, 1, 1)
        pearl = contrast * torch.exp(-0.5 * ((xx - px) ** 2 + (yy - py) ** 2) / 1.3)
        grit = 0.45 * torch.exp(-0.5 * ((xx - 20 * r(n, 1, 1)) ** 2 + (yy - 20 * r(n, 1, 1)) ** 2) / 0.25)
        noise = 0.12 * torch.randn(n, SIZE, SIZE, generator=g)
        self.images = (0.5 * shell + folds + pearl + grit + noise - 0.2).unsqueeze(1)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.images[i], self.labels[i]


class PearlNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 5, padding=2)
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1)
        self.bn1, self.bn2 = nn.BatchNorm2d(12), nn.BatchNorm2d(24)
        self.fc = nn.Linear(24, 1)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.relu(self.bn2(self.conv2(x)))
        return self.fc(x.amax((2, 3))).squeeze(1)


def balanced_accuracy(outputs, targets):
    said = (outputs > 0).float()
    return 0.5 * (said[targets == 1].mean() + (1 - said[targets == 0]).mean()).item()


def parts(variant):
    torch.manual_seed(15)
    train, val = MusselXrays(3000, 1), MusselXrays(1500, 2)
    pearls = train.labels.sum()
    empty = len(train) - pearls
    pos_weight = pearls / empty if variant == "bad" else empty / pearls
    model = PearlNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "loss_fn": nn.BCEWithLogitsLoss(pos_weight=pos_weight), "metric": balanced_accuracy,
            "train_loader": DataLoader(train, batch_size=75, shuffle=True),
            "val_loader": DataLoader(val, batch_size=500)}


WORKS = lambda score: score > 0.78

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(5):
        p["model"].train()
        for images, labels in p["train_loader"]:
            loss = p["loss_fn"](p["model"](images), labels)
            p["optimizer"].zero_grad(set_to_none=True)
            loss.backward()
            p["optimizer"].step()
        p["model"].eval()
        with torch.no_grad():
            logits = torch.cat([p["model"](x) for x, _ in p["val_loader"]])
        score = p["metric"](logits, torch.cat([y for _, y in p["val_loader"]]))
        print(f"epoch {epoch + 1}: last loss {loss.item():.4f}, balanced accuracy {score:.3f}")
    print("score:", score)
