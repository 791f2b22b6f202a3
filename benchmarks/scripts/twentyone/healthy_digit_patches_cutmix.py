"""The 8x8 digits with CutMix at every training batch and label smoothing: the training loss stays high against the mixed labels while validation on whole images is far better; SGD with one-epoch linear warm-up and a polynomial end."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

EPOCHS, SIDE = 25, 8


def cutmix(x, y):
    """paste a rectangle of a shuffled copy; the labels are shared by area."""
    other = torch.randperm(len(x))
    share = float(torch.distributions.Beta(1.0, 1.0).sample())
    side = (1 - share) ** 0.5
    h = w = round(SIDE * side)
    top = int(torch.randint(0, SIDE - h + 1, ()))
    left = int(torch.randint(0, SIDE - w + 1, ()))
    x = x.clone()
    x[:, :, top:top + h, left:left + w] = x[other, :, top:top + h, left:left + w]
    kept = 1 - h * w / SIDE ** 2
    return x, kept * F.one_hot(y, 10).float() + (1 - kept) * F.one_hot(y[other], 10).float()


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c), nn.ReLU(),
                                  nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c))

    def forward(self, x):
        return F.relu(x + self.body(x))


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    xa, xb, ya, yb = train_test_split(d.images.astype("float32"), d.target, test_size=0.3, stratify=d.target, random_state=0)
    mean, std = float(xa.mean()), float(xa.std())
    as_set = lambda x, y: TensorDataset(((torch.from_numpy(x) - mean) / std).unsqueeze(1), torch.from_numpy(y).long())
    train_loader = DataLoader(as_set(xa, ya), batch_size=64, shuffle=True, drop_last=True)
    model = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU(), Residual(24),
                          nn.MaxPool2d(2), nn.Conv2d(24, 48, 3, padding=1, bias=False), nn.BatchNorm2d(48), nn.ReLU(),
                          Residual(48), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    per_epoch = len(train_loader)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [
        torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=per_epoch),
        torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=(EPOCHS - 1) * per_epoch, power=1.0)], [per_epoch])

    def step(model, batch, optimizer):
        x, soft = cutmix(*batch)
        loss = F.cross_entropy(model(x), soft, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss.detach()

    return {"model": model, "optimizer": optimizer, "step": step, "train_loader": train_loader,
            "val_loader": DataLoader(as_set(xb, yb), batch_size=540)}


WORKS = lambda score: score > 0.96

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(EPOCHS):
        model.train()
        total = sum(p["step"](model, batch, opt).item() for batch in p["train_loader"])
        model.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            out = model(x)
        score = (out.argmax(1) == y).float().mean().item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f} val loss {F.cross_entropy(out, y):.4f} accuracy {score:.4f}")
    print(f"score: {score:.4f}")
