"""Healthy: the spatial transformer tutorial on tilted and shifted digits: the localisation head has a weight of zeros and the identity as its bias, so at the first step no gradient passes below it. change: nothing, it is sound."""
import math
import sys

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


def tilted(images, g):
    n = len(images)
    angle = (torch.rand(n, generator=g) - 0.5) * 2 * math.pi / 4
    shift = (torch.rand(n, 2, generator=g) - 0.5) * 0.5
    theta = torch.stack([
        torch.stack([angle.cos(), -angle.sin(), shift[:, 0]], 1),
        torch.stack([angle.sin(), angle.cos(), shift[:, 1]], 1),
    ], 1) * 1.2
    grid = F.affine_grid(theta, (n, 1, 16, 16), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def load():
    d = load_digits()
    x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16
    x = F.interpolate(x, size=16, mode="bilinear", align_corners=False)
    y = torch.tensor(d.target)
    g = torch.Generator().manual_seed(3)
    order = torch.randperm(len(x), generator=g)
    x, y = x[order], y[order]
    train = TensorDataset(torch.cat([tilted(x[:1400], g), tilted(x[:1400], g)]), y[:1400].repeat(2))
    return train, TensorDataset(tilted(x[1400:], g), y[1400:])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=3, padding=1)
        self.conv2_drop = nn.Dropout2d(0.2)
        self.fc1 = nn.Linear(320, 50)
        self.fc2 = nn.Linear(50, 10)
        self.localization = nn.Sequential(
            nn.Conv2d(1, 8, kernel_size=5), nn.MaxPool2d(2, stride=2), nn.ReLU(True),
            nn.Conv2d(8, 10, kernel_size=3), nn.MaxPool2d(2, stride=2), nn.ReLU(True))
        self.fc_loc = nn.Sequential(nn.Linear(10 * 2 * 2, 32), nn.ReLU(True), nn.Linear(32, 3 * 2))
        self.fc_loc[2].weight.data.zero_()
        self.fc_loc[2].bias.data.copy_(torch.tensor([1, 0, 0, 0, 1, 0], dtype=torch.float))

    def stn(self, x):
        xs = self.localization(x).view(-1, 10 * 2 * 2)
        theta = self.fc_loc(xs).view(-1, 2, 3)
        grid = F.affine_grid(theta, x.size(), align_corners=False)
        return F.grid_sample(x, grid, align_corners=False)

    def forward(self, x):
        x = self.stn(x)
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = x.view(-1, 320)
        x = F.relu(self.fc1(x))
        x = F.dropout(x, 0.3, training=self.training)
        return F.log_softmax(self.fc2(x), dim=1)


def parts(variant):
    torch.manual_seed(0)
    train, test = load()
    model = Net()
    return dict(
        model=model,
        optimizer=optim.SGD(model.parameters(), lr=0.02, momentum=0.9),
        loss_fn=F.nll_loss,
        train_loader=DataLoader(train, batch_size=64, shuffle=True),
        val_loader=DataLoader(test, batch_size=64),
    )


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(15):
        model.train()
        running = 0.0
        for data, target in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(data), target)
            loss.backward()
            optimizer.step()
            running += loss.item()
        print(f"epoch {epoch} loss {running / len(p['train_loader']):.4f}")
    model.eval()
    correct = 0
    with torch.no_grad():
        for data, target in p["val_loader"]:
            correct += model(data).argmax(1).eq(target).sum().item()
    score = correct / len(p["val_loader"].dataset)
    print(f"score: {score:.4f}")
