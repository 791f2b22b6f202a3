"""A small convolutional net tells cracked saucers from whole ones under a triangular cyclic rate and momentum stepped at every batch, so the loss swings up and down with the cycle."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SIDE = 20


def saucers(n, seed):
    g = torch.Generator().manual_seed(seed)
    rows = torch.arange(SIDE).float().view(1, SIDE, 1)
    cols = torch.arange(SIDE).float().view(1, 1, SIDE)
    cy, cx = (8 + 3 * torch.rand(2, n, 1, 1, generator=g)).unbind(0)
    radius = 6 + 2 * torch.rand(n, 1, 1, generator=g)
    r = ((rows - cy) ** 2 + (cols - cx) ** 2).sqrt()
    image = torch.sigmoid(2 * (radius - r)) * 0.7
    y = torch.randint(0, 2, (n,), generator=g)
    angle = torch.rand(n, 1, 1, generator=g) * torch.pi
    shift = (torch.rand(n, 1, 1, generator=g) - 0.5) * 5
    line = ((cols - cx) * angle.cos() + (rows - cy) * angle.sin() - shift).abs()
    crack = torch.exp(-(line / 0.7) ** 2) * (r < radius)
    image = image - 0.3 * crack * y.view(-1, 1, 1)
    return (image + 0.12 * torch.randn(n, SIDE, SIDE, generator=g)).unsqueeze(1), y


def block(a, b):
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(block(1, 12), block(12, 24), nn.Flatten(), nn.Dropout(0.2), nn.Linear(24 * 25, 2))
    x, y = saucers(3000, 1)
    mean, std = x.mean(), x.std()
    xv, yv = saucers(800, 2)
    train_loader = DataLoader(TensorDataset((x - mean) / std, y), batch_size=60, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002, momentum=0.9, weight_decay=5e-4)
    cyclic = torch.optim.lr_scheduler.CyclicLR(
        optimizer, base_lr=0.002, max_lr=0.06, step_size_up=2 * len(train_loader),
        cycle_momentum=True, base_momentum=0.85, max_momentum=0.95)
    criterion = nn.CrossEntropyLoss()

    def step(model, batch, optimizer):
        images, labels = batch
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        cyclic.step()
        return loss.detach()

    return {
        "model": model,
        "optimizer": optimizer,
        "step": step,
        "train_loader": train_loader,
        "val_loader": DataLoader(TensorDataset((xv - mean) / std, yv), batch_size=400),
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(16):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            total += p["step"](model, batch, opt).item()
        model.eval()
        with torch.no_grad():
            hits = sum((model(x).argmax(1) == y).sum().item() for x, y in p["val_loader"])
        score = hits / len(p["val_loader"].dataset)
        print(f"epoch {epoch} rate {opt.param_groups[0]['lr']:.4f} loss {total / len(p['train_loader']):.4f} accuracy {score:.4f}")
    print(f"score: {score:.4f}")
