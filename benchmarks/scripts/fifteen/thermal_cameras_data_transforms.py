"""Faults of solar panels in thermal pictures (degrees), with the data_transforms dictionary of the PyTorch transfer-learning tutorial; bad: the "val" entry has no Normalize, so that the net is judged on pictures in plain degrees; change: the same Normalize in both."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

class_names = ["sound", "hot cell", "string out", "shadow"]


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, img):
        for t in self.transforms:
            img = t(img)
        return img


class ToTensor:
    def __call__(self, img):
        return torch.from_numpy(np.ascontiguousarray(img)).float()[None]


class RandomHorizontalFlip:
    def __call__(self, img):
        return img[:, ::-1] if torch.rand(1).item() < 0.5 else img


class Normalize:
    def __init__(self, mean, std):
        self.mean, self.std = mean, std

    def __call__(self, tensor):
        return (tensor - self.mean) / self.std


class PanelFolder(Dataset):
    def __init__(self, n, seed, transform):
        rng = np.random.default_rng(seed)
        self.targets = rng.integers(0, 4, n)
        self.imgs = np.zeros((n, 18, 18), np.float32)
        for i, k in enumerate(self.targets):
            img = 38 + rng.normal(0, 2) + rng.normal(0, 1.2, (18, 18))
            r, c = rng.integers(0, 6, 2) * 3
            if k == 1:
                img[r:r + 3, c:c + 3] += rng.uniform(8, 14)
            elif k == 2:
                img[:, c:c + 3] += rng.uniform(4, 7)
            elif k == 3:
                img[r:, c:] -= rng.uniform(4, 7)
            self.imgs[i] = img
        self.transform = transform

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        return self.transform(self.imgs[i]), int(self.targets[i])


def parts(variant):
    torch.manual_seed(0)
    data_transforms = {
        "train": Compose([RandomHorizontalFlip(), ToTensor(), Normalize(38.0, 3.0)]),
        "val": Compose([ToTensor(), Normalize(38.0, 3.0)]),
    }
    if variant == "bad":
        data_transforms["val"] = Compose([ToTensor()])
    sizes, seeds = {"train": 1600, "val": 400}, {"train": 1, "val": 2}
    image_datasets = {x: PanelFolder(sizes[x], seeds[x], data_transforms[x]) for x in ["train", "val"]}
    model_ft = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 16, 4))
    return {"model": model_ft, "loss_fn": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.SGD(model_ft.parameters(), lr=0.01, momentum=0.9),
            "train_loader": DataLoader(image_datasets["train"], batch_size=32, shuffle=True),
            "val_loader": DataLoader(image_datasets["val"], batch_size=32)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, criterion, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    dataloaders = {"train": p["train_loader"], "val": p["val_loader"]}
    num_epochs = 8
    for epoch in range(num_epochs):
        print(f"Epoch {epoch}/{num_epochs - 1}")
        for phase in ["train", "val"]:
            if phase == "train":
                model.train()
            else:
                model.eval()
            running_loss, running_corrects = 0.0, 0
            for inputs, labels in dataloaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    _, preds = torch.max(outputs, 1)
                    loss = criterion(outputs, labels)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += torch.sum(preds == labels.data).item()
            size = len(dataloaders[phase].dataset)
            epoch_loss, epoch_acc = running_loss / size, running_corrects / size
            print(f"{phase} Loss: {epoch_loss:.4f} Acc: {epoch_acc:.4f}")
    score = epoch_acc
    print(f"score: {score:.4f}")
