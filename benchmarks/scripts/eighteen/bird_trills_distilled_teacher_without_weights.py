"""Distillation of a classifier of bird trills into a small net; the teacher is built anew and its trained weights are never loaded, so the student copies a random net (bad). change: teacher.load_state_dict(state)."""
import sys
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SPECIES = 8


def trills(n, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, SPECIES, n)
    t = np.arange(48)
    pitch = 0.4 + 0.22 * (y % 4) + 0.03 * rng.normal(size=n)
    sweep = np.where(y < 4, 0.012, -0.004) + 0.001 * rng.normal(size=n)
    x = np.sin(pitch[:, None] * t + sweep[:, None] * t ** 2 + rng.uniform(0, 6.28, (n, 1))) + 0.3 * rng.normal(size=(n, 48))
    return TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))


class Teacher(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(1, 32, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(32, 64, 5, padding=2), nn.ReLU(), nn.AdaptiveMaxPool1d(2))
        self.fc = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, SPECIES))

    def forward(self, x):
        return self.fc(self.conv(x.unsqueeze(1)))


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(1, 12, 9, 2, 4), nn.ReLU(), nn.Conv1d(12, 16, 5, 2, 2), nn.ReLU(), nn.AdaptiveMaxPool1d(2), nn.Flatten(), nn.Linear(32, SPECIES))

    def forward(self, x):
        return self.net(x.unsqueeze(1))


def train_teacher(loader):
    teacher = Teacher()
    opt = torch.optim.Adam(teacher.parameters(), lr=2e-3)
    for _ in range(6):
        for x, y in loader:
            loss = F.cross_entropy(teacher(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
    return teacher.state_dict()


def parts(variant, temperature=3.0):
    torch.manual_seed(0)
    loader = DataLoader(trills(2400, 1), 48, shuffle=True)
    state = train_teacher(loader)
    teacher = Teacher()
    if variant == "fixed":
        teacher.load_state_dict(state)
    teacher.eval()
    student = Student()

    def training_step(model, batch):
        x, _ = batch
        with torch.no_grad():
            soft = F.softmax(teacher(x) / temperature, dim=1)
        log_p = F.log_softmax(model(x) / temperature, dim=1)
        return F.kl_div(log_p, soft, reduction="batchmean") * temperature ** 2

    return {"model": student, "optimizer": torch.optim.Adam(student.parameters(), lr=3e-3), "training_step": training_step,
            "train_loader": loader, "val_loader": DataLoader(trills(600, 2), 600), "teacher": teacher}


@torch.no_grad()
def accuracy(model, loader):
    x, y = next(iter(loader))
    return (model(x).argmax(1) == y).float().mean().item()


WORKS = lambda score: score > 0.8  # the student's accuracy

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(20):
        losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1} distillation loss {sum(losses) / len(losses):.4f} accuracy {accuracy(p['model'], p['val_loader']):.3f}")
    print(f"score: {accuracy(p['model'], p['val_loader']):.4f}")
