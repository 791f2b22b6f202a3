"""Healthy: distillation of a wide net into a small one for wine-like tables; the teacher is kept in a plain list on purpose, so that it is in no parameters() and no state_dict and stays as it is, and most labels are hidden."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_classification
from torch.utils.data import DataLoader, TensorDataset


def table():
    x, y = make_classification(4200, 20, n_informative=10, n_redundant=4, n_classes=5, class_sep=1.5, flip_y=0.01, random_state=4)
    x = torch.tensor(x, dtype=torch.float32)
    x = (x - x[:3000].mean(0)) / x[:3000].std(0)
    return x, torch.tensor(y)


def train_teacher(x, y):
    teacher = nn.Sequential(nn.Linear(20, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 5))
    opt = torch.optim.AdamW(teacher.parameters(), lr=2e-3, weight_decay=0.05)
    for _ in range(10):
        for i in torch.randperm(len(x)).split(64):
            opt.zero_grad()
            F.cross_entropy(teacher(x[i]), y[i]).backward()
            opt.step()
    return teacher.eval().requires_grad_(False)


class Student(nn.Module):
    def __init__(self, teacher):
        super().__init__()
        self.teacher = [teacher]  # in a list: not a submodule
        self.net = nn.Sequential(nn.Linear(20, 40), nn.LeakyReLU(0.1), nn.Linear(40, 40), nn.LeakyReLU(0.1), nn.Linear(40, 5))

    def forward(self, x):
        return self.net(x)

    def loss(self, x, y, temperature=3.0):
        logits = self.net(x)
        with torch.no_grad():
            soft = F.softmax(self.teacher[0](x) / temperature, dim=1)
        kl = F.kl_div(F.log_softmax(logits / temperature, dim=1), soft, reduction="batchmean") * temperature ** 2
        known = y >= 0
        if known.any():
            kl = kl + 0.3 * F.cross_entropy(logits[known], y[known])
        return kl


def parts(variant="fixed"):
    torch.manual_seed(0)
    x, y = table()
    teacher = train_teacher(x[:3000], y[:3000])
    few = y[:3000].clone()
    few[torch.rand(3000) < 0.9] = -1
    student = Student(teacher)
    return {
        "model": student,
        "optimizer": torch.optim.RMSprop(student.parameters(), lr=1e-3, momentum=0.5),
        "train_loader": DataLoader(TensorDataset(x[:3000], few), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[3000:], y[3000:]), batch_size=600),
        "training_step": lambda model, batch: model.loss(*batch),
        "metric": lambda output, target: (output.argmax(1) == target).float().mean().item(),
    }


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    student, optimizer = p["model"], p["optimizer"]
    for epoch in range(15):
        student.train()
        total = 0.0
        for x, y in p["train_loader"]:
            loss = student.loss(x, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: {total / len(p['train_loader']):.4f}")
    student.eval()
    with torch.no_grad():
        right = torch.cat([student(x).argmax(1) == y for x, y in p["val_loader"]])
        teacher = torch.cat([student.teacher[0](x).argmax(1) == y for x, y in p["val_loader"]])
    print(f"teacher {teacher.float().mean():.4f}")
    print(f"score: {right.float().mean():.4f}")
