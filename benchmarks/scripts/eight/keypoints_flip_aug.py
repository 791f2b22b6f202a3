"""Facial-landmark-like keypoint regression with augmentation; the random horizontal flip mirrors the image and leaves the keypoints where they were; change: `fixed` mirrors (and swaps left/right) the keypoints too."""
import argparse
import math
import torch
from torch import nn
from torch.utils.data import Dataset, DataLoader

WORKS = lambda score: score < 2.5       # mean distance in pixels, images 40 x 40
S = 40
SWAP = [1, 0, 2, 4, 3]                  # left eye <-> right eye, left mouth <-> right mouth


def make_face(g):
    cx, cy = (torch.rand(2, generator=g) * 16 + 12).tolist()
    ang = (torch.rand(1, generator=g).item() - 0.5) * 0.7
    k = 0.8 + 0.4 * torch.rand(1, generator=g).item()
    base = torch.tensor([[-6., -5.], [6., -5.], [0., 0.], [-4., 6.], [4., 6.]]) * k
    rot = torch.tensor([[math.cos(ang), -math.sin(ang)], [math.sin(ang), math.cos(ang)]])
    pts = base @ rot.T + torch.tensor([cx, cy])
    yy, xx = torch.meshgrid(torch.arange(S), torch.arange(S), indexing="ij")
    img = 0.1 * torch.randn(S, S, generator=g)
    for j, (x, y) in enumerate(pts):
        amp = [1.0, 1.0, 0.7, 0.5, 0.5][j]
        img += amp * torch.exp(-((xx - x) ** 2 + (yy - y) ** 2) / 5.0)
    return img[None], pts


class Landmarks(Dataset):
    def __init__(self, n, seed, augment=False, move_points=True):
        g = torch.Generator().manual_seed(seed)
        self.faces = [make_face(g) for _ in range(n)]
        self.augment, self.move_points = augment, move_points

    def __len__(self):
        return len(self.faces)

    def __getitem__(self, i):
        img, pts = self.faces[i]
        if self.augment:
            if torch.rand(1) < 0.5:
                img = img.flip(-1)
                if self.move_points:
                    pts = torch.stack([S - 1 - pts[:, 0], pts[:, 1]], 1)[SWAP]
            img = img * (0.8 + 0.4 * torch.rand(1)) + 0.05 * torch.randn_like(img)
        return img, (pts / (S - 1)).flatten()


class LandmarkNet(nn.Module):
    def __init__(self):
        super().__init__()
        chans = [1, 16, 32, 48]
        self.features = nn.Sequential(*[
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.LeakyReLU(0.1), nn.MaxPool2d(2))
            for a, b in zip(chans, chans[1:])])
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(48 * 25, 96), nn.ReLU(), nn.Linear(96, 10))

    def forward(self, x):
        return self.head(self.features(x))


def pixel_error(out, target):
    d = (out - target).view(-1, 5, 2) * (S - 1)
    return d.norm(dim=-1).mean().item()


def parts(variant):
    torch.manual_seed(0)
    train = Landmarks(500, 1, augment=True, move_points=variant != "bad")
    model = LandmarkNet()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
                train_loader=DataLoader(train, batch_size=32, shuffle=True),
                val_loader=DataLoader(Landmarks(150, 2), batch_size=50),
                loss_fn=nn.SmoothL1Loss(beta=0.05), metric=pixel_error)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=20)
    args = ap.parse_args()
    p = parts(args.variant)
    model, criterion = p["model"], p["loss_fn"]
    for ep in range(1, args.epochs + 1):
        model.train()
        running = 0.0
        for images, points in p["train_loader"]:
            out = model(images)
            loss = criterion(out, points)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            running += loss.item() * len(images)
        model.eval()
        with torch.no_grad():
            errs = [pixel_error(model(i), t) for i, t in p["val_loader"]]
        print(f"[{ep:02d}] train loss {running / 500:.4f}  val error {sum(errs) / len(errs):.2f} px")
    print(f"score: {sum(errs) / len(errs):.4f}")


if __name__ == "__main__":
    main()
