"""Localiser of one sign per photo; photos of many sizes are resized to 32 x 32, but the boxes stay in pixels of the original photo. change: the boxes are scaled along with the photo."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import Dataset, DataLoader

SIZE = 32


class SignPhotos(Dataset):
    def __init__(self, n, seed, scale_boxes):
        g = torch.Generator().manual_seed(seed)
        self.photos, self.boxes = [], []
        for _ in range(n):
            side = int(torch.randint(40, 160, (1,), generator=g))
            photo = 0.3 * torch.rand(1, side, side, generator=g)
            w, h = (side * (0.2 + 0.3 * torch.rand(2, generator=g))).int().tolist()
            x, y = ((side - max(w, h)) * torch.rand(2, generator=g)).int().tolist()
            photo[:, y:y + h, x:x + w] += 0.7
            self.photos.append(photo)
            self.boxes.append(torch.tensor([x, y, x + w, y + h], dtype=torch.float32))
        self.scale_boxes = scale_boxes

    def __len__(self):
        return len(self.photos)

    def __getitem__(self, i):
        photo, box = self.photos[i], self.boxes[i]
        small = F.interpolate(photo[None], size=(SIZE, SIZE), mode="bilinear", antialias=True)[0]
        if self.scale_boxes:
            box = box * SIZE / photo.shape[-1]
        return small, box / SIZE


class Localiser(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.ReLU())
        self.regressor = nn.Sequential(nn.Flatten(), nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, 4))

    def forward(self, x):
        return self.regressor(self.features(x))


def parts(variant):
    torch.manual_seed(0)
    model = Localiser()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.SmoothL1Loss(),
            "train_loader": DataLoader(SignPhotos(1500, 1, variant == "fixed"), batch_size=32, shuffle=True),
            "val_loader": DataLoader(SignPhotos(300, 2, variant == "fixed"), batch_size=100)}


def iou(a, b):
    wh = (torch.min(a[:, 2:], b[:, 2:]) - torch.max(a[:, :2], b[:, :2])).clamp(min=0)
    inter = wh.prod(1)
    area = lambda t: (t[:, 2:] - t[:, :2]).clamp(min=0).prod(1)
    return inter / (area(a) + area(b) - inter)


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        losses = []
        for photo, box in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(photo), box)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch} box loss {sum(losses) / len(losses):.5f}")
    model.eval()
    with torch.no_grad():
        overlaps = torch.cat([iou(model(photo), box) for photo, box in p["val_loader"]])
    print(f"score: {overlaps.mean().item():.4f}")
