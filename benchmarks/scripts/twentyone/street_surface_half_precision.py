"""CNN that tells road surfaces apart, trained in half precision with a GradScaler; the mistake (bad): optimizer.step() stands behind the if/else, so after scaler.step(optimizer) the optimizer steps a second time, also on gradients that the scaler had refused; change: it belongs to the else branch."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

FP16 = True
SURFACES = 5


def patches(n, seed, size=20):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, SURFACES, (n,), generator=g)
    yy, xx = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    fx = torch.tensor([0.4, 0.8, 1.2, 1.6, 0.6])[y] * (0.9 + 0.2 * torch.rand(n, generator=g))
    fy = torch.tensor([1.5, 0.5, 1.0, 0.3, 0.6])[y] * (0.9 + 0.2 * torch.rand(n, generator=g))
    ph = torch.rand(n, 2, generator=g) * 6.283
    x = torch.sin(fx[:, None, None] * xx + ph[:, 0, None, None]) * torch.cos(fy[:, None, None] * yy + ph[:, 1, None, None])
    return TensorDataset((x + 0.6 * torch.randn(n, size, size, generator=g))[:, None], y)


class SurfaceNet(nn.Module):
    def __init__(self, c=16):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, c, 3, padding=1, bias=False), nn.BatchNorm2d(c), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(c, 2 * c, 3, padding=1, bias=False), nn.BatchNorm2d(2 * c), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(2 * c, 2 * c, 3, padding=1, bias=False), nn.BatchNorm2d(2 * c), nn.ReLU())
        self.classifier = nn.Linear(2 * c, SURFACES)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def parts(variant):
    torch.manual_seed(0)
    model = SurfaceNet()
    criterion = nn.CrossEntropyLoss()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0 ** 16, growth_interval=100)

    def step(model, batch, optimizer):
        images, labels = batch
        optimizer.zero_grad()
        if FP16:
            with torch.autocast("cpu", dtype=torch.float16):
                loss = criterion(model(images), labels)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        else:
            loss = criterion(model(images), labels)
            loss.backward()
        if variant == "bad" or not FP16:
            optimizer.step()
        return loss.detach()

    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4),
            "step": step,
            "train_loader": DataLoader(patches(2000, 1), batch_size=32, shuffle=True),
            "val_loader": DataLoader(patches(400, 2), batch_size=100)}


WORKS = lambda score: score > 0.85  # accuracy

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(6):
        model.train()
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.4f}")
    model.eval()
    with torch.no_grad():
        hits = torch.cat([model(x).argmax(1) == y for x, y in p["val_loader"]])
    print(f"score: {hits.float().mean().item():.4f}")
