"""A small CNN names the kind of a padlock in a shop photo (body, shackle and keyhole make 24 kinds). The network ends in nn.Softmax and is trained with nn.CrossEntropyLoss, which applies log-softmax itself, so the gradients nearly vanish; the right change: end the network with the linear layer (logits)."""
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIZE, BODIES, SHACKLES, KEYHOLES = 24, 4, 3, 2
KINDS = BODIES * SHACKLES * KEYHOLES


def draw_padlock(body, shackle, keyhole, g):
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    shift = (torch.rand(2, generator=g) - 0.5) * 0.2
    scale = 0.9 + 0.2 * torch.rand(1, generator=g).item()
    xs, ys = (xs - shift[0]) / scale, (ys - shift[1]) / scale
    yb = ys - 0.35
    shapes = [(xs.abs() < 0.5) & (yb.abs() < 0.45),
              xs ** 2 + yb ** 2 < 0.26,
              xs.abs() + 0.6 * yb.clamp(min=0) * 2 < 0.55,
              xs.abs() + yb.abs() < 0.65]
    shapes[2] = shapes[2] & (yb.abs() < 0.45)
    width, height = [(0.25, 0.35), (0.25, 0.7), (0.45, 0.5)][shackle]
    r = torch.sqrt((xs / width) ** 2 + ((ys + 0.05) / height) ** 2)
    arch = (r > 0.75) & (r < 1.2) & (ys < -0.02)
    image = 0.7 * shapes[body].float()
    image[arch & ~shapes[body]] = 1.0
    hole = (xs ** 2 + yb ** 2 < 0.03) if keyhole == 0 else (xs.abs() < 0.08) & (yb.abs() < 0.28)
    image[hole] = 0.0
    light = 0.7 + 0.5 * torch.rand(1, generator=g)
    return image * light + 0.15 * torch.randn(SIZE, SIZE, generator=g)


class PadlockPhotos(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(0, KINDS, (n,), generator=g)
        images = []
        for k in self.labels.tolist():
            images.append(draw_padlock(k % BODIES, k // BODIES % SHACKLES, k // (BODIES * SHACKLES), g))
        self.images = torch.stack(images).unsqueeze(1)
        self.images = (self.images - 0.3) / 0.4

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.images[i], self.labels[i]


def conv_block(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1), nn.BatchNorm2d(cout), nn.ReLU(), nn.MaxPool2d(2))


def build_model(variant):
    layers = [conv_block(1, 12), conv_block(12, 24), conv_block(24, 32), nn.Flatten(),
              nn.Linear(32 * 9, 64), nn.ReLU(), nn.Linear(64, KINDS)]
    if variant == "bad":
        layers.append(nn.Softmax(dim=1))
    return nn.Sequential(*layers)


def accuracy(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean().item()


def parts(variant):
    torch.manual_seed(3)
    model = build_model(variant)
    return {"model": model,
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4),
            "loss_fn": nn.CrossEntropyLoss(), "metric": accuracy,
            "train_loader": DataLoader(PadlockPhotos(2400, 1), batch_size=32, shuffle=True),
            "val_loader": DataLoader(PadlockPhotos(600, 2), batch_size=200)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(4):
        model.train()
        running = 0.0
        for images, labels in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            running += loss.item()
        model.eval()
        with torch.no_grad():
            acc = sum(accuracy(model(x), y) for x, y in p["val_loader"]) / len(p["val_loader"])
        print(f"epoch {epoch + 1}: loss {running / len(p['train_loader']):.3f}  val acc {acc:.3f}")
    print("score:", acc)
