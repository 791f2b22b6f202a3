"""Healthy: additive angular margin (ArcFace) on digits: normalised features and class weights, scale 30, margin 0.3; the loss starts far above log 10 because the margin and the scale are in it, and the head is applied in training alone. change: nothing, it is sound."""
import math
import sys

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def datasets():
    digits = load_digits()
    x = (digits.images / 16.0 - 0.3).astype("float32")[:, None]
    xa, xb, ya, yb = train_test_split(x, digits.target, test_size=0.25, stratify=digits.target, random_state=0)
    return (TensorDataset(torch.from_numpy(xa), torch.from_numpy(ya)),
            TensorDataset(torch.from_numpy(xb), torch.from_numpy(yb)))


class ArcMarginProduct(nn.Module):
    def __init__(self, in_features, out_features, s=30.0, m=0.30):
        super().__init__()
        self.s, self.m = s, m
        self.weight = nn.Parameter(torch.FloatTensor(out_features, in_features))
        nn.init.xavier_uniform_(self.weight)
        self.cos_m, self.sin_m = math.cos(m), math.sin(m)
        self.th, self.mm = math.cos(math.pi - m), math.sin(math.pi - m) * m

    def forward(self, x, label):
        cosine = F.linear(F.normalize(x), F.normalize(self.weight))
        sine = torch.sqrt((1.0 - cosine.pow(2)).clamp(1e-6, 1))
        phi = cosine * self.cos_m - sine * self.sin_m
        phi = torch.where(cosine > self.th, phi, cosine - self.mm)
        one_hot = torch.zeros_like(cosine)
        one_hot.scatter_(1, label.view(-1, 1), 1)
        return self.s * (one_hot * phi + (1.0 - one_hot) * cosine)


class FaceNet(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.PReLU(16),
            nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.PReLU(32),
            nn.Flatten(), nn.Linear(512, dim), nn.BatchNorm1d(dim))
        self.metric_fc = ArcMarginProduct(dim, 10)

    def forward(self, x):
        return self.backbone(x)


criterion = nn.CrossEntropyLoss()


def training_step(model, batch):
    image, label = batch
    return criterion(model.metric_fc(model(image), label), label)


def parts(variant):
    torch.manual_seed(0)
    train, test = datasets()
    model = FaceNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    return dict(
        model=model,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.StepLR(optimizer, step_size=8, gamma=0.1),
        training_step=training_step,
        train_loader=DataLoader(train, batch_size=32, shuffle=True, drop_last=True),
        val_loader=DataLoader(test, batch_size=128),
    )


# verification: a pair counts as right when the nearest other test digit is of the same class
WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(16):
        model.train()
        total = 0
        for batch in p["train_loader"]:
            loss = training_step(model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        p["scheduler"].step()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        feats = torch.cat([F.normalize(model(x)) for x, _ in p["val_loader"]])
        labels = torch.cat([y for _, y in p["val_loader"]])
        sims = feats @ feats.T
        sims.fill_diagonal_(-1)
        score = (labels[sims.argmax(1)] == labels).float().mean().item()
    print(f"score: {score:.4f}")
