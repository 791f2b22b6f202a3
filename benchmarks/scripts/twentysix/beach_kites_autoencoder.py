"""A convolutional autoencoder compresses small colour photos of kites in the sky. The photos are normalised to [-1, 1] (mean 0.5, std 0.5) but the decoder ends in a sigmoid, which cannot go below 0, so all that is dark stays wrong; the right change: end the decoder in nn.Tanh()."""
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


class Normalize:
    def __init__(self, mean, std):
        self.mean, self.std = mean, std

    def __call__(self, img):
        return (img - self.mean) / self.std


class KitePhotos(Dataset):
    def __init__(self, n, seed, transform=None, size=16):
        g = torch.Generator().manual_seed(seed)
        axis = torch.linspace(-1, 1, size)
        yy, xx = torch.meshgrid(axis, axis, indexing="ij")
        r = torch.rand(n, 12, generator=g)[..., None, None]
        sky_top = torch.stack([0.05 + 0.2 * r[:, 0], 0.2 + 0.3 * r[:, 0], 0.5 + 0.4 * r[:, 1]], 1)
        sky = sky_top + (0.15 + 0.15 * r[:, 2, None]) * (yy + 1) / 2
        cx, cy, turn = r[:, 3] - 0.5, r[:, 4] - 0.5, 6.28 * r[:, 5]
        u = (xx - cx) * torch.cos(turn) + (yy - cy) * torch.sin(turn)
        v = (yy - cy) * torch.cos(turn) - (xx - cx) * torch.sin(turn)
        body = torch.sigmoid(18 * (0.5 - u.abs() * (0.8 + 0.5 * r[:, 6]) - 0.6 * v.abs()))
        colour = torch.stack([r[:, 7], r[:, 8], r[:, 9]], 1)
        self.photos = sky * (1 - body[:, None]) + colour * body[:, None]
        sea = torch.sigmoid(20 * (yy - 0.55 - 0.3 * r[:, 10]))[:, None]
        dark = torch.tensor([0.03, 0.1, 0.16]).view(1, 3, 1, 1) + 0.06 * r[:, 11, None]
        self.photos = (self.photos * (1 - sea) + dark * sea + 0.03 * torch.randn(n, 3, size, size, generator=g)).clamp(0, 1)
        self.transform = transform

    def __len__(self):
        return len(self.photos)

    def __getitem__(self, i):
        img = self.photos[i]
        img = self.transform(img) if self.transform else img
        return img, img


class ConvAutoencoder(nn.Module):
    def __init__(self, last, code=32):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 24, 3, stride=2, padding=1), nn.ReLU(True),
            nn.Conv2d(24, 32, 3, stride=2, padding=1), nn.ReLU(True),
            nn.Flatten(), nn.Linear(32 * 16, code))
        self.decoder = nn.Sequential(
            nn.Linear(code, 32 * 16), nn.ReLU(True), nn.Unflatten(1, (32, 4, 4)),
            nn.ConvTranspose2d(32, 24, 4, stride=2, padding=1), nn.ReLU(True),
            nn.ConvTranspose2d(24, 3, 4, stride=2, padding=1), last)

    def forward(self, x):
        return self.decoder(self.encoder(x))


def explained_variance(outputs, targets):
    return 1 - ((outputs - targets) ** 2).sum().item() / ((targets - targets.mean(0)) ** 2).sum().item()


def parts(variant):
    torch.manual_seed(17)
    transform = Normalize(0.5, 0.5)
    model = ConvAutoencoder(nn.Sigmoid() if variant == "bad" else nn.Tanh())
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-6)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.MSELoss(), "metric": explained_variance,
            "train_loader": DataLoader(KitePhotos(2000, 0, transform), batch_size=50, shuffle=True),
            "val_loader": DataLoader(KitePhotos(400, 1, transform), batch_size=400)}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, criterion, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    for epoch in range(10):
        for img, target in p["train_loader"]:
            output = model(img)
            loss = criterion(output, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch [{epoch + 1}/10], loss:{loss.item():.4f}")
    model.eval()
    with torch.no_grad():
        img, target = next(iter(p["val_loader"]))
        print("score:", explained_variance(model(img), target))
