"""Small U-Net that outlines tree crowns in aerial pictures. The net ends in a sigmoid and the loss is BCEWithLogitsLoss, which applies one more, so no pixel can be called less than one half; the right change: end the net in the plain 1 x 1 convolution."""
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
W = 32


def fly_over(n, generator):
    """Pictures (n, 3, W, W) and masks (n, 1, W, W): two to five crowns on a meadow."""
    rand = lambda *s: torch.rand(*s, generator=generator)
    randn = lambda *s: torch.randn(*s, generator=generator)
    yy, xx = torch.meshgrid(torch.arange(W).float(), torch.arange(W).float(), indexing="ij")
    meadow = torch.tensor([0.45, 0.55, 0.30]).view(1, 3, 1, 1) + 0.1 * randn(n, 1, 1, 1)
    images = meadow.expand(n, 3, W, W).clone()
    masks = torch.zeros(n, 1, W, W)
    for i in range(n):
        for _ in range(int(torch.randint(2, 6, (1,), generator=generator))):
            cx, cy = (rand(2) * W).tolist()
            radius = 2.5 + 2.5 * rand(1).item()
            dist = ((xx - cx) ** 2 + (yy - cy) ** 2).sqrt()
            crown = dist < radius
            green = torch.tensor([0.25, 0.42, 0.18]).view(3, 1) + 0.05 * randn(3, 1)
            shade = 1.0 - 0.05 * (xx - cx + yy - cy)[crown]
            images[i][:, crown] = green * shade
            masks[i, 0][crown] = 1.0
    return images + 0.07 * randn(n, 3, W, W), masks


def double_conv(c_in, c_out):
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True),
                         nn.Conv2d(c_out, c_out, 3, padding=1), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, final, base=8):
        super().__init__()
        self.down1, self.down2 = double_conv(3, base), double_conv(base, 2 * base)
        self.bottom = double_conv(2 * base, 4 * base)
        self.pool = nn.MaxPool2d(2)
        self.up2 = nn.ConvTranspose2d(4 * base, 2 * base, 2, stride=2)
        self.conv2 = double_conv(4 * base, 2 * base)
        self.up1 = nn.ConvTranspose2d(2 * base, base, 2, stride=2)
        self.conv1 = double_conv(2 * base, base)
        self.out = nn.Sequential(nn.Conv2d(base, 1, 1), *final)

    def forward(self, x):
        d1 = self.down1(x)
        d2 = self.down2(self.pool(d1))
        x = self.bottom(self.pool(d2))
        x = self.conv2(torch.cat([self.up2(x), d2], dim=1))
        x = self.conv1(torch.cat([self.up1(x), d1], dim=1))
        return self.out(x)


def iou(outputs, targets):
    pred = torch.sigmoid(outputs) > 0.5
    truth = targets > 0.5
    return ((pred & truth).sum() / (pred | truth).sum().clamp(min=1)).item()


def parts(variant):
    torch.manual_seed(12)
    g = torch.Generator().manual_seed(12)
    model = UNet(final=[nn.Sigmoid()] if variant == "bad" else [])
    train, val = fly_over(640, g), fly_over(120, g)
    return {"model": model, "loss_fn": nn.BCEWithLogitsLoss(), "metric": iou,
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "train_loader": DataLoader(TensorDataset(*train), batch_size=16, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*val), batch_size=60)}


WORKS = lambda score: score > 0.55

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    unet, opt = p["model"], p["optimizer"]
    for epoch in range(3):
        unet.train()
        for image, mask in p["train_loader"]:
            loss = p["loss_fn"](unet(image), mask)
            opt.zero_grad()
            loss.backward()
            opt.step()
        unet.eval()
        with torch.no_grad():
            scores = [p["metric"](unet(x), m) for x, m in p["val_loader"]]
        print(f"epoch {epoch}: loss {loss.item():.3f}, IoU {sum(scores) / len(scores):.3f}")
    print("score:", sum(scores) / len(scores))
