"""A small convolutional colouriser: grey-scale photographs of stained glass in, three colour planes out. The mistake: the dataset divides by 255 and the network divides by 255 once more, so the pixels lie in 0..0.004 and the output hardly depends on them; the right change: divide once."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
GLASS = np.array([[20, 30, 160], [170, 25, 40], [30, 140, 60], [150, 70, 170], [230, 160, 30], [235, 225, 150]], dtype=np.float32)


def window(rng, size=20):
    """Voronoi panes with lead between them and some uneven light."""
    pts = rng.uniform(0, size, (5, 2))
    kind = rng.integers(0, len(GLASS), 5)
    yy, xx = np.mgrid[:size, :size]
    d = (yy[None] - pts[:, 0, None, None]) ** 2 + (xx[None] - pts[:, 1, None, None]) ** 2
    order = np.sort(d, 0)
    rgb = GLASS[kind][d.argmin(0)]
    rgb = rgb * (1 + 0.06 * rng.standard_normal((size, size, 1)))
    rgb[np.sqrt(order[1]) - np.sqrt(order[0]) < 1.0] = 5
    return rgb.clip(0, 255).astype(np.uint8)


class Windows(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.rgb = [window(rng) for _ in range(n)]

    def __len__(self):
        return len(self.rgb)

    def __getitem__(self, i):
        rgb = self.rgb[i].astype(np.float32) / 255.0
        grey = rgb @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
        return torch.from_numpy(grey)[None], torch.from_numpy(rgb.transpose(2, 0, 1).copy())


class Colouriser(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        self.features = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(),
            nn.Conv2d(24, 32, 3, padding=1), nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())
        self.to_rgb = nn.Conv2d(32, 3, 1)

    def forward(self, x):
        x = x / self.scale
        return torch.sigmoid(self.to_rgb(self.features(x)))


def explained(out, y):
    mean = y.mean((0, 2, 3), keepdim=True)
    return 1 - ((out - y) ** 2).mean().item() / ((y - mean) ** 2).mean().item()


def parts(variant):
    torch.manual_seed(5)
    net = Colouriser(255.0 if variant == "bad" else 1.0)
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=1.5e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(Windows(480, 1), batch_size=16, shuffle=True),
            "val_loader": DataLoader(Windows(96, 2), batch_size=96), "metric": explained}


WORKS = lambda score: score > 0.55

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(8):
        net.train()
        running = 0.0
        for grey, rgb in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(grey), rgb)
            loss.backward()
            opt.step()
            running += loss.item()
        net.eval()
        with torch.no_grad():
            grey, rgb = next(iter(p["val_loader"]))
            score = explained(net(grey), rgb)
        print(f"[{epoch + 1}] loss: {running / len(p['train_loader']):.4f}  explained colour: {score:.3f}")
    print("score:", score)
