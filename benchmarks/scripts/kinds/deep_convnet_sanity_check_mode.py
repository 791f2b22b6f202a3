"""Plain 14-layer BatchNorm CNN: a sanity check before training calls eval(), which is never undone, so BatchNorm normalises nothing; change: `fixed` calls train() in the training step."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda acc: acc > 0.8


def conv_bn_relu(cin, cout, stride=1):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))


class PlainNet(nn.Module):
    def __init__(self, depth=14, width=24):
        super().__init__()
        layers = [conv_bn_relu(1, width)]
        for i in range(depth - 1):
            layers.append(conv_bn_relu(width, width, 2 if i == depth // 2 else 1))
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


def loaders():
    d = load_digits()
    x = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16
    y = torch.tensor(d.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(4))
    x, y = x[order], y[order]
    return DataLoader(TensorDataset(x[:1400], y[:1400]), 50, shuffle=True), DataLoader(TensorDataset(x[1400:], y[1400:]), 200)


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    return sum((model(x).argmax(1) == y).sum().item() for x, y in loader) / len(loader.dataset)


def parts(variant):
    torch.manual_seed(0)
    train_loader, val_loader = loaders()
    model = PlainNet().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    evaluate(model, val_loader)  # sanity check: does one pass over the validation data run?

    def training_step(model, batch):
        if variant == "fixed":
            model.train()
        x, y = batch
        return F.cross_entropy(model(x), y)

    return dict(model=model, optimizer=optimizer, train_loader=train_loader, val_loader=val_loader, training_step=training_step,
                metric=lambda o, t: (o.argmax(1) == t).float().mean())


def train(variant, epochs=6):
    p = parts(variant)
    for epoch in range(epochs):
        total = 0.0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        acc = evaluate(p["model"], p["val_loader"])
        print(f"epoch {epoch + 1}/{epochs}: train loss {total / len(p['train_loader']):.4f}, val acc {acc:.3f}")
    print(f"score: {acc:.4f}")


if __name__ == "__main__":
    train(sys.argv[1] if len(sys.argv) > 1 else "fixed")
