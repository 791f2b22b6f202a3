"""Healthy: digits with mixup and label smoothing, learning rate from zero up and back to zero; the training loss stays near one and above the
validation loss all the time. Nothing to change."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

EPOCHS, BATCH = 20, 64


def loaders():
    d = load_digits()
    x = torch.tensor(d.images, dtype=torch.float32)[:, None]
    x = (x - x.mean()) / x.std()
    y = torch.tensor(d.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    tr, va = order[:1400], order[1400:]
    return (DataLoader(TensorDataset(x[tr], y[tr]), BATCH, shuffle=True, drop_last=True),
            DataLoader(TensorDataset(x[va], y[va]), 256))


def block(a, b):
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())


def warmup_then_linear(total, warm):
    return lambda s: s / warm if s < warm else max(0.0, (total - s) / (total - warm))


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(block(1, 24), block(24, 32), nn.MaxPool2d(2), block(32, 48), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10))
    train_loader, val_loader = loaders()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9, nesterov=True, weight_decay=5e-4)
    total = EPOCHS * len(train_loader)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_then_linear(total, total // 10))

    def step(model, batch, optimizer):
        x, y = batch
        lam = torch.distributions.Beta(0.4, 0.4).sample()
        perm = torch.randperm(len(x))
        logits = model(lam * x + (1 - lam) * x[perm])
        loss = (lam * F.cross_entropy(logits, y, label_smoothing=0.1)
                + (1 - lam) * F.cross_entropy(logits, y[perm], label_smoothing=0.1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        scheduler.step()
        return loss.detach()

    return dict(model=model, optimizer=optimizer, step=step, train_loader=train_loader, val_loader=val_loader)


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, step, opt = p["model"], p["step"], p["optimizer"]
    for epoch in range(EPOCHS):
        model.train()
        running = 0.0
        for batch in p["train_loader"]:
            running += step(model, batch, opt).item()
        model.eval()
        with torch.no_grad():
            val = sum(F.cross_entropy(model(x), y, reduction="sum").item() for x, y in p["val_loader"]) / len(p["val_loader"].dataset)
        print(f"epoch {epoch}: train {running / len(p['train_loader']):.4f} val {val:.4f} lr {opt.param_groups[0]['lr']:.4f}")
    with torch.no_grad():
        score = sum((model(x).argmax(1) == y).sum().item() for x, y in p["val_loader"]) / len(p["val_loader"].dataset)
    print(f"score: {score:.4f}")
