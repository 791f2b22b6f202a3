"""Knowledge distillation with the teacher's outputs fetched once, batch by batch, and looked up by batch number while the train loader shuffles anew each epoch; change: `fixed` asks the teacher about the batch at hand."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score > 0.9     # student accuracy on the test images
T, ALPHA, EPOCHS = 4.0, 0.9, 25


def data():
    d = load_digits()
    x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(d.target)
    perm = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[perm], y[perm]
    return TensorDataset(x[:1200], y[:1200]), TensorDataset(x[1200:], y[1200:])


def big_net():
    return nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10))


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.fc1 = nn.Linear(8 * 16, 24)
        self.fc2 = nn.Linear(24, 10)

    def forward(self, x):
        x = F.relu(self.conv(x)).flatten(1)
        return self.fc2(F.relu(self.fc1(x)))


def train_teacher(loader):
    net = big_net()
    opt = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(5):
        for x, y in loader:
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()
    return net.eval()


def fetch_teacher_outputs(teacher, loader):
    with torch.no_grad():
        return [teacher(x) for x, _ in loader]


def loss_fn_kd(outputs, labels, teacher_outputs):
    kd = F.kl_div(F.log_softmax(outputs / T, 1), F.softmax(teacher_outputs / T, 1), reduction="batchmean")
    return ALPHA * T * T * kd + (1 - ALPHA) * F.cross_entropy(outputs, labels)


class KDStep:
    """zero_grad, backward and step for one batch of the student"""

    def __init__(self, teacher, loader, variant):
        self.teacher, self.variant, self.n = teacher, variant, 0
        self.cache = fetch_teacher_outputs(teacher, loader)

    def __call__(self, model, batch, optimizer):
        x, y = batch
        if self.variant == "bad":
            soft = self.cache[self.n % len(self.cache)]
        else:
            with torch.no_grad():
                soft = self.teacher(x)
        self.n += 1
        loss = loss_fn_kd(model(x), y, soft)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss


def parts(variant):
    torch.manual_seed(13)
    train, test = data()
    loader = DataLoader(train, batch_size=32, shuffle=True, drop_last=True)
    teacher = train_teacher(loader)
    student = Student()
    return {"model": student, "optimizer": torch.optim.Adam(student.parameters(), lr=2e-3), "train_loader": loader,
            "val_loader": DataLoader(test, batch_size=199), "step": KDStep(teacher, loader, variant),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


def evaluate(model, loader):
    with torch.no_grad():
        hits = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return hits / len(loader.dataset)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    print("teacher accuracy", evaluate(p["step"].teacher, p["val_loader"]))
    for epoch in range(EPOCHS):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"- epoch {epoch + 1}/{EPOCHS} kd loss {sum(losses) / len(losses):.3f} "
              f"val acc {evaluate(p['model'], p['val_loader']):.3f}")
    print("score: %.4f" % evaluate(p["model"], p["val_loader"]))
