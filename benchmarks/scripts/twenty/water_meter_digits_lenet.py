"""LeNet on 8-bit pictures of meter digits; bad: the pixels go in as floats from 0 to 255; change: they are divided by 255 and normalised."""
import argparse
import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import Dataset, DataLoader
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class MeterDigits(Dataset):
    def __init__(self, images, targets, transform=None):
        self.images = images
        self.targets = targets
        self.transform = transform

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, idx):
        img = torch.from_numpy(self.images[idx]).unsqueeze(0).float()
        if self.transform is not None:
            img = self.transform(img)
        return img, int(self.targets[idx])


def to_unit(img):
    return (img / 255.0 - 0.3) / 0.35


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, kernel_size=5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, kernel_size=5), nn.ReLU(), nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(16 * 2 * 2, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))

    def forward(self, x):
        return self.classifier(self.features(x))


def read_images():
    digits = load_digits()
    images = np.kron(digits.images, np.ones((2, 2)))  # 16x16
    images = np.clip(images * 15.9, 0, 255).astype(np.uint8)
    return images, digits.target


def parts(variant):
    torch.manual_seed(0)
    images, targets = read_images()
    x_tr, x_va, y_tr, y_va = train_test_split(images, targets, test_size=0.25, random_state=1, stratify=targets)
    transform = None if variant == "bad" else to_unit
    model = LeNet()
    return {
        "model": model,
        "optimizer": optim.SGD(model.parameters(), lr=0.03, momentum=0.9),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(MeterDigits(x_tr, y_tr, transform), batch_size=32, shuffle=True),
        "val_loader": DataLoader(MeterDigits(x_va, y_va, transform), batch_size=64),
    }


WORKS = lambda score: score > 0.9


def accuracy(model, loader):
    model.eval()
    hits = 0
    with torch.no_grad():
        for data, target in loader:
            hits += model(data).argmax(dim=1).eq(target).sum().item()
    return hits / len(loader.dataset)


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", nargs="?", default="fixed")
    p = parts(parser.parse_args().variant)
    model = p["model"]
    for epoch in range(15):
        model.train()
        epoch_loss = []
        for data, target in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(data), target)
            loss.backward()
            p["optimizer"].step()
            epoch_loss.append(loss.item())
        score = accuracy(model, p["val_loader"])
        print("Epoch {}: loss {:.4f}, val accuracy {:.4f}".format(epoch, np.mean(epoch_loss), score))
    print(f"score: {score:.4f}")
