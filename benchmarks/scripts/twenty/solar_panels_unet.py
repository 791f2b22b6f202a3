"""Small U-Net that marks solar panels on roof tiles; bad: the network ends in Sigmoid and the loss is BCEWithLogitsLoss, which applies the sigmoid once more; change: the last layer gives raw scores."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, DataLoader


class RoofTiles(Dataset):
    def __init__(self, n, seed, size=32):
        rng = np.random.RandomState(seed)
        yy, xx = np.mgrid[:size, :size]
        self.images, self.masks = [], []
        for _ in range(n):
            img = rng.uniform(0.3, 0.7) + 0.08 * rng.randn(3, size, size)
            img += 0.15 * np.sin(yy * rng.uniform(0.3, 0.8))
            mask = np.zeros((size, size))
            for _ in range(rng.randint(1, 4)):
                h, w = rng.randint(5, 11, 2)
                r, c = rng.randint(0, size - 10, 2)
                mask[r:r + h, c:c + w] = 1
            panel = np.stack([0.1 + 0 * xx, 0.15 + 0 * xx, 0.35 + 0.1 * ((xx + yy) % 3 == 0)])
            img = np.where(mask[None] > 0, 0.6 * panel + 0.4 * img, img)
            self.images.append(img.clip(0, 1))
            self.masks.append(mask[None])

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return torch.tensor(self.images[i], dtype=torch.float32), torch.tensor(self.masks[i], dtype=torch.float32)


def double_conv(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1), nn.BatchNorm2d(cout), nn.ReLU(inplace=True),
                         nn.Conv2d(cout, cout, 3, padding=1), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, final_activation=None):
        super().__init__()
        self.down1 = double_conv(3, 8)
        self.down2 = double_conv(8, 16)
        self.bottom = double_conv(16, 32)
        self.pool = nn.MaxPool2d(2)
        self.up2 = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.dec2 = double_conv(32, 16)
        self.up1 = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.dec1 = double_conv(16, 8)
        self.out = nn.Conv2d(8, 1, 1)
        self.final_activation = final_activation or nn.Identity()

    def forward(self, x):
        d1 = self.down1(x)
        d2 = self.down2(self.pool(d1))
        b = self.bottom(self.pool(d2))
        u2 = self.dec2(torch.cat([self.up2(b), d2], dim=1))
        u1 = self.dec1(torch.cat([self.up1(u2), d1], dim=1))
        return self.final_activation(self.out(u1))


def parts(variant):
    torch.manual_seed(0)
    model = UNet(nn.Sigmoid() if variant == "bad" else None)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "loss_fn": nn.BCEWithLogitsLoss(),
        "train_loader": DataLoader(RoofTiles(400, 1), batch_size=16, shuffle=True),
        "val_loader": DataLoader(RoofTiles(100, 2), batch_size=50),
    }


WORKS = lambda score: score > 0.75


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    inter = union = 0
    for img, mask in loader:
        pred = torch.sigmoid(model(img)) > 0.5
        inter += (pred & (mask > 0)).sum().item()
        union += (pred | (mask > 0)).sum().item()
    return inter / union


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(8):
        model.train()
        losses = []
        for img, mask in p["train_loader"]:
            loss = p["loss_fn"](model(img), mask)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        score = evaluate(model, p["val_loader"])
        print(f"epoch {epoch}  loss {np.mean(losses):.4f}  IoU {score:.4f}")
    print(f"score: {score:.4f}")
