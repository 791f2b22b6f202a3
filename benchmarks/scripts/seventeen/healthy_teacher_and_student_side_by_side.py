"""Sound: a wide teacher and a narrow student learn digits beside each other, the teacher from labels, the student from the teacher's softened and detached answers alone, each with its own optimizer; nothing to change."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

TEMPERATURE = 3.0


class Classifier(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))

    def forward(self, x):
        return self.net(x)


def parts(variant):
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16.0, dtype=torch.float32)
    y = torch.tensor(y)
    perm = torch.randperm(len(x))
    tr, va = perm[:1300], perm[1300:]
    pair = nn.ModuleDict({"teacher": Classifier(256), "student": Classifier(32)})
    optimizer = {"teacher": torch.optim.SGD(pair["teacher"].parameters(), lr=0.05, momentum=0.9),
                 "student": torch.optim.Adam(pair["student"].parameters(), lr=5e-3)}

    def step(model, batch, optimizer):
        xb, yb = batch
        answers = model["teacher"](xb)
        teacher_loss = F.cross_entropy(answers, yb)
        optimizer["teacher"].zero_grad()
        teacher_loss.backward()
        optimizer["teacher"].step()

        soft = F.softmax(answers.detach() / TEMPERATURE, dim=1)
        own = F.log_softmax(model["student"](xb) / TEMPERATURE, dim=1)
        student_loss = F.kl_div(own, soft, reduction="batchmean") * TEMPERATURE ** 2
        optimizer["student"].zero_grad()
        student_loss.backward()
        optimizer["student"].step()
        return student_loss

    return {"model": pair, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(TensorDataset(x[tr], y[tr]), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[va], y[va]), batch_size=100)}


# the student's accuracy
WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(40):
        p["model"].train()
        losses = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        print(f"epoch {epoch} student {np.mean(losses):.4f}")
    p["model"].eval()
    with torch.no_grad():
        score = torch.cat([p["model"]["student"](x).argmax(1) == y for x, y in p["val_loader"]]).float().mean().item()
    print(f"score: {score:.4f}")
