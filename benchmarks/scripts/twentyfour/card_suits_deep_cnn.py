"""Deep plain convolutional net with batch norm that reads the suit of a playing card off a 20 x 20 grey image. Every 25 batches the step prints the accuracy on a few spare cards under model.eval() and does not go back to model.train(), so from the very first batch the norm layers use their untouched running statistics, the signal fades over the layers and nothing is learnt; the right change: model.train() after the spare cards."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SUITS = ("hearts", "diamonds", "clubs", "spades")


def draw_cards(n, seed):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:20, 0:20]
    images, suits = np.zeros((n, 1, 20, 20), dtype=np.float32), rng.integers(0, 4, n)
    for i, s in enumerate(suits):
        size = rng.uniform(4.2, 6.2)
        u = (xx - 9.5 - rng.normal(0, 1)) / size
        v = (yy - 9.5 - rng.normal(0, 1)) / size
        if s == 0:
            shape = (u ** 2 + v ** 2 - 0.55) ** 3 + u ** 2 * v ** 3 < 0
        elif s == 1:
            shape = np.abs(u) * 1.3 + np.abs(v) < 0.95
        elif s == 2:
            shape = np.zeros_like(u, dtype=bool)
            for a, b in ((0, -0.45), (-0.45, 0.2), (0.45, 0.2)):
                shape |= (u - a) ** 2 + (v - b) ** 2 < 0.17
            shape |= (np.abs(u) < 0.12) & (v > 0) & (v < 0.9)
        else:
            shape = ((u ** 2 + v ** 2 - 0.5) ** 3 - u ** 2 * v ** 3 < 0) | ((np.abs(u) < 0.12) & (v > 0) & (v < 0.95))
        ink = rng.uniform(0.3, 0.7)
        images[i, 0] = rng.uniform(0.75, 0.95) - ink * shape + rng.normal(0, 0.08, (20, 20))
    return torch.from_numpy(images), torch.from_numpy(suits)


def conv(a, b, stride=1):
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())


class CardNet(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.features = nn.Sequential(conv(1, width), conv(width, width), conv(width, width, 2), conv(width, width), conv(width, width),
                                      conv(width, 2 * width, 2), conv(2 * width, 2 * width), conv(2 * width, 2 * width),
                                      conv(2 * width, 2 * width), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classify = nn.Linear(2 * width, 4)

    def forward(self, x):
        return self.classify(self.features(x))


class SuitStep:
    """One optimisation step; prints how the net does on some spare cards now and then."""

    def __init__(self, spare, every=25, back=True):
        self.spare, self.every, self.back, self.count = spare, every, back, 0
        self.criterion = nn.CrossEntropyLoss()

    def __call__(self, model, batch):
        if self.count % self.every == 0:
            model.eval()
            with torch.no_grad():
                right = (model(self.spare[0]).argmax(1) == self.spare[1]).float().mean().item()
            print(f"  batch {self.count}: spare cards {right:.2f}")
            if self.back:
                model.train()
        self.count += 1
        cards, suits = batch
        return self.criterion(model(cards), suits)


def parts(variant):
    torch.manual_seed(0)
    model = CardNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler,
            "training_step": SuitStep(draw_cards(64, 8), back=variant != "bad"),
            "train_loader": DataLoader(TensorDataset(*draw_cards(1280, 7)), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*draw_cards(400, 9)), batch_size=100)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"].train()
    for epoch in range(6):
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        p["scheduler"].step()
        print(f"epoch {epoch}: loss {loss.item():.3f}")
    model.eval()
    with torch.no_grad():
        hits = [(model(x).argmax(1) == y).float().mean().item() for x, y in p["val_loader"]]
    print("score:", float(np.mean(hits)))
