"""Distilling a digits teacher into a small student at T=20 by SGD: the KL is not multiplied by T^2, its gradient is 400 times too small (and the tiny loss looks converged); change: loss * T * T."""
import sys
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

T = 20.0

def data():
    X, y = load_digits(return_X_y=True)
    a, b, c, d = train_test_split(X / 16.0, y, test_size=0.25, random_state=0, stratify=y)
    f = lambda v: torch.tensor(v, dtype=torch.float32)
    return TensorDataset(f(a), torch.tensor(c)), TensorDataset(f(b), torch.tensor(d))

def pretrained_teacher(train):
    teacher = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    opt = torch.optim.Adam(teacher.parameters(), 1e-3)
    for _ in range(12):
        for x, y in DataLoader(train, 64, shuffle=True):
            opt.zero_grad(); F.cross_entropy(teacher(x), y).backward(); opt.step()
    return teacher.eval().requires_grad_(False)

def parts(variant):
    torch.manual_seed(0)
    train, test = data()
    teacher = pretrained_teacher(train)
    student = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    factor = T * T if variant == "fixed" else 1.0
    def training_step(model, batch):
        x, _ = batch
        with torch.no_grad():
            soft = F.softmax(teacher(x) / T, dim=1)
        return factor * F.kl_div(F.log_softmax(model(x) / T, dim=1), soft, reduction="batchmean")
    return dict(model=student, optimizer=torch.optim.SGD(student.parameters(), lr=0.02, momentum=0.9), training_step=training_step,
                train_loader=DataLoader(train, 32, shuffle=True), val_loader=DataLoader(test, 150))

WORKS = lambda score: score > 0.88

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    student, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        for batch in p["train_loader"]:
            loss = p["training_step"](student, batch)
            opt.zero_grad(); loss.backward(); opt.step()
        with torch.no_grad():
            acc = sum((student(x).argmax(1) == y).sum().item() for x, y in p["val_loader"]) / len(p["val_loader"].dataset)
        print(f"epoch {epoch:2d} distill loss {loss.item():.6f} student acc {acc:.3f}")
    print("score:", acc)
