"""Healthy: a small CNN pretrained on the digits 0 to 4 is fine-tuned on 5 to 9 with few examples; its body and batch norms are frozen for the first
steps although the optimizer holds them, then they thaw at a hundredth of the head's rate. Nothing to change."""
import sys
import torch
from torch import nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def pictures(low, high):
    d = load_digits()
    keep = (d.target >= low) & (d.target < high)
    x = torch.tensor(d.images[keep], dtype=torch.float32)[:, None] / 16
    y = torch.tensor(d.target[keep]) - low
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(5))
    return x[order], y[order]


class Net(nn.Module):
    def __init__(self, classes=5):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
            nn.Conv2d(24, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 48, 3, padding=1, bias=False), nn.BatchNorm2d(48), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(48 * 4, classes)
        self.body_frozen = False

    def train(self, mode=True):
        super().train(mode)
        if self.body_frozen:
            self.body.eval()
        return self

    def freeze(self, frozen):
        self.body_frozen = frozen
        for p in self.body.parameters():
            p.requires_grad_(not frozen)
        return self.train(self.training)

    def forward(self, x):
        return self.head(self.body(x))


def pretrained():
    net = Net()
    x, y = pictures(0, 5)
    opt = torch.optim.Adam(net.parameters(), 2e-3)
    for epoch in range(4):
        for i in torch.randperm(len(x)).split(64):
            opt.zero_grad()
            nn.functional.cross_entropy(net(x[i]), y[i]).backward()
            opt.step()
    return net


def parts(variant):
    torch.manual_seed(0)
    model = pretrained()
    model.head = nn.Linear(48 * 4, 5)
    model.freeze(True)
    optimizer = torch.optim.Adam([dict(params=model.body.parameters(), lr=3e-5), dict(params=model.head.parameters(), lr=3e-3)])
    x, y = pictures(5, 10)
    train, val = TensorDataset(x[:320], y[:320]), TensorDataset(x[320:], y[320:])
    seen = 0

    def step(model, batch, optimizer):
        nonlocal seen
        if seen == 150:
            model.freeze(False)
            model.train()
        seen += 1
        x, y = batch
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return dict(model=model, optimizer=optimizer, step=step, train_loader=DataLoader(train, 32, shuffle=True), val_loader=DataLoader(val, 256))


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(30):
        model.train()
        losses = [p["step"](model, b, p["optimizer"]).item() for b in p["train_loader"]]
        print(f"epoch {epoch}: {sum(losses) / len(losses):.4f}")
    model.eval()
    with torch.no_grad():
        right = sum((model(x).argmax(1) == y).sum().item() for x, y in p["val_loader"])
    score = right / len(p["val_loader"].dataset)
    print(f"score: {score:.4f}")
