"""CNN with batch norm on drawn 20x20 runes (eight classes), AdamW and StepLR(step_size=4, gamma=0.3) meant in epochs; mistake: scheduler.step() is called after every batch, so that the rate is gone within the first epoch; change: called at the end of an epoch."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

STROKES = [
    [(2, 10, 18, 10), (2, 10, 8, 16)], [(2, 10, 18, 10), (18, 10, 12, 16)], [(2, 5, 18, 15), (2, 15, 18, 5)],
    [(2, 6, 18, 6), (10, 6, 2, 15)], [(2, 6, 18, 6), (10, 6, 18, 15)], [(2, 5, 10, 15), (10, 15, 18, 5)],
    [(2, 15, 10, 5), (10, 5, 18, 15)], [(2, 6, 18, 6), (2, 14, 18, 14)],
]


class Runes(Dataset):
    def __init__(self, n, seed):
        rng = np.random.RandomState(seed)
        self.labels = rng.randint(0, len(STROKES), n)
        self.images = np.zeros((n, 20, 20), dtype=np.float32)
        for img, c in zip(self.images, self.labels):
            dy, dx = rng.randint(-2, 3, 2)
            for y0, x0, y1, x1 in STROKES[c]:
                y0, x0, y1, x1 = np.array([y0, x0, y1, x1]) + rng.uniform(-1.5, 1.5, 4)
                for s in np.linspace(0, 1, 40):
                    y, x = int(round(y0 + s * (y1 - y0) + dy)), int(round(x0 + s * (x1 - x0) + dx))
                    if 0 <= y < 20 and 0 <= x < 20:
                        img[y, x] = 1
            img += rng.normal(0, 0.45, img.shape)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return torch.from_numpy(self.images[i]).unsqueeze(0), int(self.labels[i])


def conv_block(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(conv_block(1, 12), nn.MaxPool2d(2), conv_block(12, 24), nn.MaxPool2d(2), conv_block(24, 32),
                          nn.Flatten(), nn.Dropout(0.2), nn.Linear(32 * 5 * 5, 8))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.3)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    p = dict(model=model, optimizer=optimizer,
             train_loader=DataLoader(Runes(1800, 1), batch_size=36, shuffle=True),
             val_loader=DataLoader(Runes(500, 2), batch_size=100))

    if variant == "bad":
        def step(model, batch, optimizer):
            x, y = batch
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            return loss
    else:
        def step(model, batch, optimizer):
            x, y = batch
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            return loss
        p["scheduler"] = scheduler
    p["step"] = step
    return p


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(10):
        model.train()
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        if "scheduler" in p:
            p["scheduler"].step()
        print(f"epoch {epoch:2d}  loss {np.mean(losses):.4f}")
    model.eval()
    with torch.no_grad():
        score = torch.cat([(model(x).argmax(1) == y).float() for x, y in p["val_loader"]]).mean().item()
    print(f"score: {score:.4f}")
