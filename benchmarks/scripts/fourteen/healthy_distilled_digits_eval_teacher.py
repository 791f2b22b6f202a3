"""Knowledge distillation on the digits of scikit-learn: a teacher with batch norm and dropout is trained first, then kept in eval mode under no_grad inside the student's module; the student's loss is the cross-entropy with soft targets at temperature 4 and never comes near zero. Sound; some pixel columns are constant and are divided by one."""
import sys

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

TEMPERATURE = 4.0


def digit_tables():
    data = load_digits()
    scaler = StandardScaler().fit(data.data[:1300])
    x, y = torch.tensor(scaler.transform(data.data), dtype=torch.float32), torch.tensor(data.target)
    return TensorDataset(x[:1300], y[:1300]), TensorDataset(x[1300:], y[1300:])


def make_teacher():
    return nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.3),
                         nn.Linear(128, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10))


def train_teacher(loader):
    teacher = make_teacher()
    optimizer = torch.optim.Adam(teacher.parameters(), lr=2e-3)
    for _ in range(12):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(teacher(x), y).backward()
            optimizer.step()
    return teacher


class Distiller(nn.Module):
    def __init__(self, teacher):
        super().__init__()
        self.student = nn.Sequential(nn.Linear(64, 24), nn.Sigmoid(), nn.Linear(24, 10))
        self.teacher = teacher.requires_grad_(False).eval()

    def train(self, mode=True):
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, x):
        return self.student(x)


def parts(variant):
    torch.manual_seed(0)
    train, val = digit_tables()
    loader = DataLoader(train, batch_size=50, shuffle=True)
    model = Distiller(train_teacher(loader))

    def training_step(model, batch):
        x, _ = batch
        with torch.no_grad():
            soft = torch.softmax(model.teacher(x) / TEMPERATURE, dim=1)
        return F.cross_entropy(model(x) / TEMPERATURE, soft)

    return dict(model=model, optimizer=torch.optim.Adam(model.student.parameters(), lr=5e-3), training_step=training_step,
                train_loader=loader, val_loader=DataLoader(val, batch_size=200))


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(30):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.4f}")
    model.eval()
    with torch.no_grad():
        right = torch.cat([model(x).argmax(1) == y for x, y in p["val_loader"]])
    print(f"score: {right.float().mean().item():.4f}")
