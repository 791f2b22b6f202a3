"""Position of a traffic sign in a camera frame, a CNN regresses its centre among other coloured blobs; bad: the (N, H, W, 3) array is brought to (N, 3, H, W) with reshape, which tears rows and colours apart; change: permute(0, 3, 1, 2). Score: share of signs found within two pixels."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SIZE = 32
COLOURS = np.array([[200, 30, 30], [40, 160, 50], [40, 60, 190], [210, 190, 40]], dtype=np.float32)


def frames(n, seed):
    rng = np.random.RandomState(seed)
    yy, xx = np.mgrid[0:SIZE, 0:SIZE]
    images = np.empty((n, SIZE, SIZE, 3), dtype=np.uint8)
    centres = np.empty((n, 2), dtype=np.float32)
    for i in range(n):
        img = rng.normal(120, 15, (SIZE, SIZE, 3)) + rng.uniform(-30, 30, 3)
        for _ in range(6):
            cy, cx, r = rng.uniform(3, 29), rng.uniform(3, 29), rng.uniform(2, 4)
            img[(yy - cy) ** 2 + (xx - cx) ** 2 < r * r] = COLOURS[rng.randint(1, 4)] + rng.normal(0, 10, 3)
        cy, cx, r = rng.uniform(5, 27), rng.uniform(5, 27), rng.uniform(2.5, 4.5)
        d = (yy - cy) ** 2 + (xx - cx) ** 2
        img[d < r * r] = COLOURS[0] + rng.normal(0, 10, 3)
        img[d < (0.5 * r) ** 2] = 235
        images[i] = img.clip(0, 255)
        centres[i] = cx, cy
    return images, centres


class SignLocator(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
            nn.Conv2d(24, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2))
        self.regressor = nn.Sequential(nn.Flatten(), nn.Linear(24 * 64, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, x):
        return self.regressor(self.features(x))


def parts(variant):
    torch.manual_seed(0)

    def to_tensors(n, seed):
        images, centres = frames(n, seed)
        x = torch.from_numpy(images).float() / 255
        x = x.reshape(-1, 3, SIZE, SIZE) if variant == "bad" else x.permute(0, 3, 1, 2).contiguous()
        return TensorDataset((x - 0.47) / 0.2, torch.from_numpy(centres) / SIZE * 2 - 1)

    net = SignLocator()
    return dict(model=net, optimizer=torch.optim.AdamW(net.parameters(), lr=2e-3), loss_fn=nn.SmoothL1Loss(beta=0.1),
                train_loader=DataLoader(to_tensors(1500, 1), batch_size=50, shuffle=True),
                val_loader=DataLoader(to_tensors(300, 2), batch_size=100))


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(10):
        net.train()
        total = 0.0
        for x, centre in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(net(x), centre)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(p['train_loader']):.4f}")
    net.eval()
    with torch.no_grad():
        miss = torch.cat([(net(x) - c).norm(dim=1) * SIZE / 2 for x, c in p["val_loader"]])
    score = (miss < 2).float().mean().item()
    print(f"score: {score:.4f}")
