"""Which of five outlines a small grey image shows, a CNN with batch norm and a one-cycle rate stepped per batch; nothing is wrong. change: none."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader

EPOCHS = 8


class Outlines(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        yy, xx = torch.meshgrid(torch.arange(20.), torch.arange(20.), indexing="ij")
        self.images, self.labels = [], []
        for _ in range(n):
            k = int(torch.randint(5, (1,), generator=g))
            cy, cx = 7 + 6 * torch.rand(2, generator=g)
            r = 3.5 + 2.5 * torch.rand(1, generator=g)
            dy, dx = yy - cy, xx - cx
            d = [(dy ** 2 + dx ** 2).sqrt(), torch.maximum(dy.abs(), dx.abs()), dy.abs() + dx.abs(),
                 torch.maximum(dy, 2 * dx.abs() - dy) * 0.9, torch.minimum(dy.abs(), dx.abs()) + r - 1 + (torch.maximum(dy.abs(), dx.abs()) > r) * 9][k]
            edge = ((d - r).abs() < 1).float()
            self.images.append((edge + 0.25 * torch.randn(20, 20, generator=g)).unsqueeze(0))
            self.labels.append(k)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], self.labels[i]


def conv(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


def parts(variant):
    torch.manual_seed(0)
    train = DataLoader(Outlines(1000, 1), batch_size=50, shuffle=True)
    model = nn.Sequential(conv(1, 12), conv(12, 12), nn.MaxPool2d(2), conv(12, 24), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(600, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=EPOCHS * len(train))
    return dict(model=model, optimizer=optimizer, scheduler=scheduler, loss_fn=nn.CrossEntropyLoss(), train_loader=train,
                val_loader=DataLoader(Outlines(300, 2), batch_size=100))


# accuracy on validation
WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(EPOCHS):
        model.train()
        total = 0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
            p["scheduler"].step()
            total += loss.item()
        print(f"epoch {epoch + 1}: {total / len(p['train_loader']):.4f}")
    model.eval()
    hits = n = 0
    with torch.no_grad():
        for x, y in p["val_loader"]:
            hits += (model(x).argmax(1) == y).sum().item()
            n += len(y)
    score = hits / n
    print(f"score: {score:.4f}")
