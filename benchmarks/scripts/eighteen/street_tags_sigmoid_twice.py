"""Multi-label tagger of street photos (12 tags); the head ends in a sigmoid and the loss is BCEWithLogitsLoss, which applies its own, so no tag can be said to be absent. change: the head gives logits."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

TAGS = 12


def photos(n, seed):
    g = torch.Generator().manual_seed(5)
    stamps = torch.randn(TAGS, 3, 6, 6, generator=g)
    g = torch.Generator().manual_seed(seed)
    y = (torch.rand(n, TAGS, generator=g) < 0.15).float()
    x = 0.4 * torch.randn(n, 3, 24, 24, generator=g)
    for i in range(n):
        for k in y[i].nonzero().flatten().tolist():
            r, c = torch.randint(0, 18, (2,), generator=g).tolist()
            x[i, :, r:r + 6, c:c + 6] += stamps[k]
    return TensorDataset(x, y)


class Tagger(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 32, 5, padding=2), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
                                  nn.Conv2d(32, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten())
        self.head = head

    def forward(self, x):
        return self.head(self.body(x))


def parts(variant):
    torch.manual_seed(0)
    head = nn.Linear(48, TAGS)
    if variant == "bad":
        head = nn.Sequential(head, nn.Sigmoid())
    model = Tagger(head)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "loss_fn": nn.BCEWithLogitsLoss(),
            "train_loader": DataLoader(photos(1500, 1), batch_size=50, shuffle=True),
            "val_loader": DataLoader(photos(300, 2), batch_size=100)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(8):
        model.train()
        total = 0
        for images, tags in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(images), tags)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch + 1} train loss {total / len(p['train_loader']):.4f}")
    model.eval()
    tp = fp = fn = 0
    with torch.no_grad():
        for images, tags in p["val_loader"]:
            said = torch.sigmoid(model(images)) > 0.5
            tp += (said & (tags == 1)).sum().item()
            fp += (said & (tags == 0)).sum().item()
            fn += (~said & (tags == 1)).sum().item()
    print(f"score: {2 * tp / (2 * tp + fp + fn):.4f}")
