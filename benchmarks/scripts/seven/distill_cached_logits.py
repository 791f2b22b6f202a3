"""Distillation of a digits teacher into a small student from cached teacher logits; the cache is filled while iterating a shuffling loader, so sample and logits do not belong together; change: `fixed` fills it in order."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

TEMP = 3.0
ALPHA = 0.9
WORKS = lambda score: score > 0.85         # student's test accuracy


def get_data():
    d = load_digits()
    x = ((d.data - d.data.mean(0)) / (d.data.std(0) + 1e-6)).astype("float32")
    xa, xb, ya, yb = train_test_split(x, d.target, test_size=0.25, random_state=0, stratify=d.target)
    return map(torch.as_tensor, (xa, xb, ya, yb))


def make_teacher(x, y):
    teacher = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 10))
    opt = torch.optim.Adam(teacher.parameters(), lr=2e-3)
    for _ in range(60):
        opt.zero_grad()
        F.cross_entropy(teacher(x), y).backward()
        opt.step()
    return teacher.eval()


@torch.no_grad()
def cache_logits(teacher, dataset, shuffle):
    loader = DataLoader(dataset, batch_size=128, shuffle=shuffle)
    return torch.cat([teacher(x) for x, _ in loader])


def kd_loss(student_logits, target):
    labels, teacher_logits = target
    soft = F.kl_div(F.log_softmax(student_logits / TEMP, dim=1), F.softmax(teacher_logits / TEMP, dim=1),
                    reduction="batchmean") * TEMP ** 2
    return ALPHA * soft + (1 - ALPHA) * F.cross_entropy(student_logits, labels)


def parts(variant):
    torch.manual_seed(0)
    x, xt, y, yt = get_data()
    teacher = make_teacher(x, y)
    train_set = TensorDataset(x, y)
    logits = cache_logits(teacher, train_set, shuffle=variant == "bad")
    train_loader = DataLoader(TensorDataset(x, y, logits), batch_size=64, shuffle=True)
    val_loader = DataLoader(TensorDataset(xt, yt, teacher(xt).detach()), batch_size=450)
    student = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    optimizer = torch.optim.SGD(student.parameters(), lr=0.02, momentum=0.9)

    def training_step(model, batch):
        x, y, t = batch
        return kd_loss(model(x), (y, t))

    return dict(model=student, optimizer=optimizer, train_loader=train_loader, val_loader=val_loader,
                training_step=training_step)


def accuracy(model, loader):
    model.eval()
    hits = n = 0
    with torch.no_grad():
        for x, y, _ in loader:
            hits += (model(x).argmax(1) == y).sum().item()
            n += len(y)
    model.train()
    return hits / n


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    student, optimizer = p["model"], p["optimizer"]
    for epoch in range(1, 81):
        total = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](student, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch % 10 == 0:
            print(f"[{epoch:3d}] kd loss {total / len(p['train_loader']):.4f}")
    print("score:", round(accuracy(student, p["val_loader"]), 4))
