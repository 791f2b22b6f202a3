"""A small student learns sklearn's digits from a teacher's soft answers, SGD with momentum; the loop clears the gradients of the teacher (which has none) and not the student's, so that they pile up over all batches; change: the student's."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

T = 3.0


def digits():
    data = load_digits()
    x = torch.tensor(data.data, dtype=torch.float32)
    y = torch.tensor(data.target)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(4))
    x, y = x[order], y[order]
    x = (x - x[:1300].mean()) / x[:1300].std()
    return x, y


def train_teacher(x, y):
    teacher = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.Adam(teacher.parameters(), lr=1e-3)
    for _ in range(25):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(teacher(x[rows]), y[rows]).backward()
            optimizer.step()
    optimizer.zero_grad()
    return teacher.eval().requires_grad_(False)


def distillation(student, teacher, x, y):
    with torch.no_grad():
        soft = F.log_softmax(teacher(x) / T, 1)
    out = student(x)
    match = F.kl_div(F.log_softmax(out / T, 1), soft, reduction="batchmean", log_target=True) * T ** 2
    return 0.7 * match + 0.3 * F.cross_entropy(out, y)


def parts(variant):
    torch.manual_seed(0)
    x, y = digits()
    teacher = train_teacher(x[:1300], y[:1300])
    student = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))

    def step(model, batch, optimizer):
        loss = distillation(model, teacher, *batch)
        if variant == "bad":
            teacher.zero_grad()
        else:
            model.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return {
        "model": student,
        "optimizer": torch.optim.SGD(student.parameters(), lr=0.02, momentum=0.9),
        "train_loader": DataLoader(TensorDataset(x[:1300], y[:1300]), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[1300:], y[1300:]), batch_size=500),
        "step": step,
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
    }


WORKS = lambda score: score > 0.93


def accuracy(p):
    with torch.no_grad():
        return sum(p["metric"](p["model"](x), y) for x, y in p["val_loader"]) / len(p["val_loader"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(30):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        print(f"epoch {epoch + 1:2d}: loss {loss.item():.4f}, accuracy {accuracy(p):.4f}")
    print(f"score: {accuracy(p):.4f}")
