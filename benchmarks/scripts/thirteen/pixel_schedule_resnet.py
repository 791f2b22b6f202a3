"""Small residual CNN on digits, SGD with StepLR(2, 0.5) meant in epochs; bad: scheduler.step() stands in the batch loop, so the rate is gone after some thirty batches; change: step the scheduler once an epoch."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 10


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.a = nn.Conv2d(c, c, 3, padding=1)
        self.b = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x):
        return torch.relu(x + self.b(torch.relu(self.a(x))))


def build():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), Residual(16), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), Residual(32), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(32, 10))


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    Xtr, Xva, ytr, yva = train_test_split(d.images[:, None].astype("float32") / 16, d.target, test_size=360, random_state=0)
    train = TensorDataset(torch.tensor(Xtr), torch.tensor(ytr))
    val = TensorDataset(torch.tensor(Xva), torch.tensor(yva))
    train_loader = DataLoader(train, batch_size=32, shuffle=True)
    net = build()
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    sched = torch.optim.lr_scheduler.StepLR(opt, step_size=2, gamma=0.5)
    loss_fn = nn.CrossEntropyLoss()
    done = {"batches": 0}

    def step(model, batch, optimizer):
        images, labels = batch
        optimizer.zero_grad()
        loss = loss_fn(model(images), labels)
        loss.backward()
        optimizer.step()
        done["batches"] += 1
        if variant == "bad" or done["batches"] % len(train_loader) == 0:
            sched.step()
        return loss

    return {"model": net, "optimizer": opt, "step": step, "loss_fn": loss_fn,
            "train_loader": train_loader, "val_loader": DataLoader(val, batch_size=120)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(EPOCHS):
        net.train()
        losses = [p["step"](net, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        net.eval()
        correct = 0
        with torch.no_grad():
            for images, labels in p["val_loader"]:
                correct += (net(images).argmax(1) == labels).sum().item()
        score = correct / len(p["val_loader"].dataset)
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f} val {score:.4f}")
    print(f"score: {score:.4f}")
