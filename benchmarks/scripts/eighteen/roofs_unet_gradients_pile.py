"""U-Net that finds roofs in aerial tiles, trained by SGD with momentum; the step never clears the gradients, so they pile up. change: zero_grad at the start of every step."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def tiles(n, seed):
    g = torch.Generator().manual_seed(seed)
    img = 0.35 * torch.randn(n, 3, 32, 32, generator=g)
    mask = torch.zeros(n, 1, 32, 32)
    for i in range(n):
        for _ in range(2):
            h, w = torch.randint(6, 14, (2,), generator=g).tolist()
            r, c = torch.randint(0, 18, (2,), generator=g).tolist()
            mask[i, 0, r:r + h, c:c + w] = 1
            img[i, :, r:r + h, c:c + w] += torch.tensor([0.8, 0.3, 0.1]).view(3, 1, 1)
        img[i, :, :, torch.randint(0, 32, (1,), generator=g)] += 1.0
    return TensorDataset(img, mask)


def double(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(),
                         nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.d1, self.d2, self.mid = double(3, 8), double(8, 16), double(16, 32)
        self.up2, self.u2 = nn.ConvTranspose2d(32, 16, 2, 2), double(32, 16)
        self.up1, self.u1 = nn.ConvTranspose2d(16, 8, 2, 2), double(16, 8)
        self.out = nn.Conv2d(8, 1, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        c = self.mid(F.max_pool2d(b, 2))
        b = self.u2(torch.cat([b, self.up2(c)], 1))
        return self.out(self.u1(torch.cat([a, self.up1(b)], 1)))


def parts(variant):
    torch.manual_seed(0)
    model = UNet()
    criterion = nn.BCEWithLogitsLoss()

    def step(model, batch, optimizer):
        img, mask = batch
        if variant == "fixed":
            optimizer.zero_grad()
        loss = criterion(model(img), mask)
        loss.backward()
        optimizer.step()
        return loss

    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), "step": step,
            "train_loader": DataLoader(tiles(480, 1), batch_size=16, shuffle=True),
            "val_loader": DataLoader(tiles(96, 2), batch_size=16)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(8):
        model.train()
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}")
    model.eval()
    inter = union = 0
    with torch.no_grad():
        for img, mask in p["val_loader"]:
            pred = model(img) > 0
            inter += (pred & (mask > 0)).sum().item()
            union += (pred | (mask > 0)).sum().item()
    print(f"score: {inter / max(union, 1):.4f}")
