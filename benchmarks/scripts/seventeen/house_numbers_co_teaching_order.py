"""Co-teaching: two networks learn from pictures of digits with 45 % wrong labels, each chooses the examples of small loss for the other; argsort is descending, so each hands over the examples of large loss ("bad"); change: ascending."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

NOISE = 0.45


def network():
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))


def parts(variant):
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(digits.target)
    order = torch.randperm(len(x))
    tr, va = order[:1400], order[1400:]
    y_tr = y[tr].clone()
    wrong = torch.rand(len(tr)) < NOISE
    y_tr[wrong] = torch.randint(10, (int(wrong.sum()),))
    model = nn.ModuleList([network(), network()])
    optimizers = [torch.optim.Adam(net.parameters(), lr=1e-3) for net in model]

    def step(model, batch, optimizer):
        xb, yb = batch
        first, second = model
        logits1, logits2 = first(xb), second(xb)
        keep = int((1 - step.forget) * len(xb))
        losses1 = F.cross_entropy(logits1, yb, reduction="none").detach()
        losses2 = F.cross_entropy(logits2, yb, reduction="none").detach()
        descending = variant == "bad"
        choice1 = torch.argsort(losses1, descending=descending)[:keep]
        choice2 = torch.argsort(losses2, descending=descending)[:keep]

        loss1 = F.cross_entropy(logits1[choice2], yb[choice2])
        optimizer[0].zero_grad()
        loss1.backward()
        optimizer[0].step()

        loss2 = F.cross_entropy(logits2[choice1], yb[choice1])
        optimizer[1].zero_grad()
        loss2.backward()
        optimizer[1].step()
        return (loss1 + loss2).detach() / 2

    step.forget = 0.4
    return {"model": model, "optimizer": optimizers, "step": step,
            "train_loader": DataLoader(TensorDataset(x[tr], y_tr), batch_size=100, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[va], y[va]), batch_size=100)}


# mean accuracy of the two networks over the last five epochs, on clean labels
WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    accs = []
    for epoch in range(30):
        p["step"].forget = min(0.4, 0.04 * epoch)
        p["model"].train()
        train = np.mean([p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]])
        p["model"].eval()
        with torch.no_grad():
            hits = [[(net(x).argmax(1) == y).float().mean().item() for x, y in p["val_loader"]] for net in p["model"]]
        accs.append(np.mean(hits))
        print(f"epoch {epoch:2d} loss {train:.3f} accuracy {accs[-1]:.3f}")
    print(f"score: {np.mean(accs[-5:]):.4f}")
