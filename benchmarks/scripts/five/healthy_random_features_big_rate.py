"""Digits with a frozen, randomly initialised conv bank and only a linear head that learns, plain SGD at rate 8; no mistake: random features suffice and they are scaled small; change: nothing."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

WORKS = lambda acc: acc > 0.9


class RandomFeatures(nn.Module):
    def __init__(self, maps=128):
        super().__init__()
        self.bank = nn.Conv2d(1, maps, 4)
        self.pool = nn.AvgPool2d(2, ceil_mode=True)
        self.register_buffer("scale", torch.tensor(1.0))
        self.head = nn.Linear(maps * 9, 10)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        for q in self.bank.parameters():
            q.requires_grad = False

    def features(self, x):
        return self.pool(torch.cos(3 * self.bank(x))).flatten(1) * self.scale

    def calibrate(self, x):
        """unit length on average, so the head may go fast"""
        f = self.features(x)
        self.scale.fill_(1 / f.norm(dim=1).mean().item())

    def forward(self, x):
        return self.head(self.features(x))


def parts(variant="fixed"):
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    full = TensorDataset(x, torch.tensor(digits.target))
    train, val = random_split(full, [1400, len(full) - 1400], generator=torch.Generator().manual_seed(0))
    model = RandomFeatures()
    with torch.no_grad():
        model.calibrate(x[:256])
    return {"model": model,
            "optimizer": torch.optim.SGD([q for q in model.parameters() if q.requires_grad], lr=8.0),
            "train_loader": DataLoader(train, batch_size=140, shuffle=True),
            "val_loader": DataLoader(val, batch_size=400),
            "loss_fn": nn.CrossEntropyLoss(),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean()}


def main():
    variant = sys.argv[1] if len(sys.argv) > 1 else "fixed"
    torch.set_num_threads(1)
    p = parts(variant)
    model, opt, crit = p["model"], p["optimizer"], p["loss_fn"]
    n_all = sum(q.numel() for q in model.parameters())
    n_on = sum(q.numel() for q in model.parameters() if q.requires_grad)
    print(f"training {n_on} of {n_all} parameters")
    for epoch in range(60):
        running = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = crit(model(x), y)
            loss.backward()
            opt.step()
            running += loss.item()
        if (epoch + 1) % 10 == 0:
            with torch.no_grad():
                hits = sum((model(a).argmax(1) == b).sum().item() for a, b in p["val_loader"])
            acc = hits / len(p["val_loader"].dataset)
            print(f"epoch {epoch + 1} loss {running / len(p['train_loader']):.3f} val {acc:.3f}")
    print(f"score: {acc:.4f}")


main() if __name__ == "__main__" else None
