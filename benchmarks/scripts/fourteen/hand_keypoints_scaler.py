"""Keypoints of a two-link hand in small pictures, with a GradScaler loop that unscales, clips and updates the scaler; bad: scaler.step(optimizer) is missing, so no update ever happens. change: it is called."""
import sys
import math
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SIZE = 20


def hands(n, seed):
    g = torch.Generator().manual_seed(seed)
    yy, xx = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    base = torch.rand(n, 2, generator=g) * 0.6 - 0.3
    angle = torch.rand(n, 2, generator=g) * torch.tensor([math.pi, 1.5])
    knuckle = base + 0.4 * torch.stack([angle[:, 0].cos(), angle[:, 0].sin()], 1)
    total = angle.sum(1)
    tip = knuckle + 0.3 * torch.stack([total.cos(), total.sin()], 1)
    points = torch.stack([base, knuckle, tip], 1)
    image = torch.zeros(n, SIZE, SIZE)
    for k, bright in enumerate((1.0, 0.6, 0.8)):
        d2 = (xx - points[:, k, 0, None, None]) ** 2 + (yy - points[:, k, 1, None, None]) ** 2
        image += bright * torch.exp(-d2 / (0.02 + 0.01 * k))
    image += 0.1 * torch.randn(image.shape, generator=g)
    return image[:, None], points.flatten(1)


class KeypointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.GELU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.GELU(), nn.Flatten())
        self.regress = nn.Sequential(nn.Linear(32 * 25, 96), nn.GELU(), nn.Linear(96, 6))

    def forward(self, x):
        return self.regress(self.features(x))


def parts(variant):
    torch.manual_seed(0)
    model = KeypointNet()
    criterion = nn.SmoothL1Loss(beta=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0 ** 10)

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if variant != "bad":
            scaler.step(optimizer)
        scaler.update()
        return loss

    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3),
        "step": step,
        "train_loader": DataLoader(TensorDataset(*hands(1500, 1)), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*hands(300, 2)), batch_size=100),
    }


WORKS = lambda score: score < 0.1

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        model.eval()
        with torch.no_grad():
            dist = [(model(x) - y).view(-1, 3, 2).norm(dim=2).mean().item() for x, y in p["val_loader"]]
        score = sum(dist) / len(dist)
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f} mean distance {score:.4f}")
    print(f"score: {score:.4f}")
