"""Kind of buoy from a small colour photograph at sea; mistake: training images come as RGB, validation images come from another reader as BGR and are never turned round; change: the channels of the validation images are reversed."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SIZE = 20
PAINT = torch.tensor([[0.85, 0.15, 0.15], [0.15, 0.75, 0.25], [0.9, 0.75, 0.1], [0.2, 0.25, 0.85]])  # red, green, yellow, blue
MEAN, STD = (0.40, 0.47, 0.58), (0.17, 0.16, 0.20)


def photographs(n, seed):
    """RGB in 0..1: a sky, a sea, a painted buoy."""
    g = torch.Generator().manual_seed(seed)
    kind = torch.randint(0, len(PAINT), (n,), generator=g)
    x = torch.empty(n, 3, SIZE, SIZE)
    x[:, :, :8] = torch.tensor([0.55, 0.65, 0.8]).view(1, 3, 1, 1)
    x[:, :, 8:] = torch.tensor([0.25, 0.38, 0.48]).view(1, 3, 1, 1)
    for i in range(n):
        h, w = torch.randint(6, 10, (2,), generator=g).tolist()
        top, left = torch.randint(2, SIZE - 10, (2,), generator=g).tolist()
        colour = (PAINT[kind[i]] + 0.08 * torch.randn(3, generator=g)).view(3, 1, 1)
        x[i, :, top:top + h, left:left + w] = colour
    light = 0.8 + 0.4 * torch.rand(n, 1, 1, 1, generator=g)
    return (x * light + 0.08 * torch.randn(x.shape, generator=g)).clamp(0, 1), kind


def read_with_cv2(n, seed):
    """The validation folder is read by OpenCV, which gives blue first."""
    x, kind = photographs(n, seed)
    return x.flip(1), kind


class Photos(Dataset):
    def __init__(self, images, kinds, bgr_to_rgb=False):
        images = images.flip(1) if bgr_to_rgb else images
        self.images = (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        self.kinds = kinds

    def __len__(self):
        return len(self.kinds)

    def __getitem__(self, i):
        return self.images[i], self.kinds[i]


def block(a, b):
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))


def parts(variant):
    torch.manual_seed(0)
    train = Photos(*photographs(1500, 1))
    val = Photos(*read_with_cv2(400, 2), bgr_to_rgb=variant != "bad")
    model = nn.Sequential(block(3, 16), block(16, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(32, len(PAINT)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    train_loader = DataLoader(train, batch_size=32, shuffle=True)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": train_loader,
        "val_loader": DataLoader(val, batch_size=100),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean(),
    }


def evaluate(model, loader):
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in loader:
            right += (model(x).argmax(1) == y).sum().item()
    return right / len(loader.dataset)


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(8):
        p["model"].train()
        correct = 0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            out = p["model"](x)
            loss = p["loss_fn"](out, y)
            loss.backward()
            p["optimizer"].step()
            correct += (out.argmax(1) == y).sum().item()
        print(f"epoch {epoch + 1}: train {correct / len(p['train_loader'].dataset):.3f}, val {evaluate(p['model'], p['val_loader']):.3f}")
    print(f"score: {evaluate(p['model'], p['val_loader']):.4f}")
