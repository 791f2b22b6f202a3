"""Defects in pictures of planks, a small residual net and the functions of the PyTorch finetuning tutorial; bad: feature_extract=True stays set though use_pretrained is False, so random features are frozen and only fc learns; change: feature_extract=False."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

num_classes = 4
batch_size = 32
num_epochs = 10


def planks(n, seed):
    """Clear, knot, crack, two knots; on a grain of random phase and brightness."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, num_classes, (n,), generator=g)
    v, u = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    x = torch.zeros(n, 1, 24, 24)
    for i, k in enumerate(y.tolist()):
        r = torch.rand(10, generator=g)
        img = 0.5 * torch.sin(v * (0.8 + 0.5 * r[0]) + 6 * r[1] + 0.3 * torch.sin(u / 4)) + r[2] - 0.5
        if k in (1, 3):
            img = img - 1.2 * torch.exp(-((u - 4 - 7 * r[3]) ** 2 + (v - 4 - 15 * r[4]) ** 2) / 4)
        if k == 3:
            img = img - 1.2 * torch.exp(-((u - 14 - 6 * r[5]) ** 2 + (v - 4 - 15 * r[6]) ** 2) / 4)
        if k == 2:
            along = (u - 4 - 15 * r[7]) * 0.9 + (v - 12) * (r[8] - 0.5)
            img = img - 1.0 * torch.exp(-along ** 2) * (torch.abs(v - 12) < 7)
        x[i, 0] = img
    return TensorDataset(x + 0.15 * torch.randn(x.shape, generator=g), y)


class BasicBlock(nn.Module):
    def __init__(self, inplanes, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1)
        self.downsample = nn.Conv2d(inplanes, planes, 1, stride)

    def forward(self, x):
        out = self.conv2(F.relu(self.conv1(x)))
        return F.relu(out + self.downsample(x))


class ResNet(nn.Module):
    def __init__(self, num_classes=1000):
        super().__init__()
        self.layer1 = BasicBlock(1, 8, 1)
        self.layer2 = BasicBlock(8, 16, 2)
        self.layer3 = BasicBlock(16, 32, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def set_parameter_requires_grad(model, feature_extracting):
    if feature_extracting:
        for param in model.parameters():
            param.requires_grad = False


def initialize_model(num_classes, feature_extract):
    model_ft = ResNet()
    set_parameter_requires_grad(model_ft, feature_extract)
    num_ftrs = model_ft.fc.in_features
    model_ft.fc = nn.Linear(num_ftrs, num_classes)
    return model_ft


def parts(variant):
    torch.manual_seed(0)
    feature_extract = variant == "bad"
    model_ft = initialize_model(num_classes, feature_extract)
    params_to_update = [param for param in model_ft.parameters() if param.requires_grad]
    return {"model": model_ft, "loss_fn": nn.CrossEntropyLoss(), "optimizer": optim.Adam(params_to_update, lr=0.003),
            "train_loader": DataLoader(planks(1600, 1), batch_size=batch_size, shuffle=True),
            "val_loader": DataLoader(planks(400, 2), batch_size=100)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, criterion, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    dataloaders = {"train": p["train_loader"], "val": p["val_loader"]}
    for epoch in range(num_epochs):
        print(f"Epoch {epoch}/{num_epochs - 1}")
        for phase in ["train", "val"]:
            model.train() if phase == "train" else model.eval()
            running_loss, running_corrects = 0.0, 0
            for inputs, labels in dataloaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    loss = criterion(outputs, labels)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += (outputs.argmax(1) == labels).sum().item()
            n = len(dataloaders[phase].dataset)
            print(f"{phase} Loss: {running_loss / n:.4f} Acc: {running_corrects / n:.4f}")
    score = running_corrects / n
    print(f"score: {score:.4f}")
