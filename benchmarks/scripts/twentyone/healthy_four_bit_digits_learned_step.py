"""Quantisation-aware training of a small convolutional net on the 8x8 digits: four-bit weights and activations with learned step sizes through a custom autograd function."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class FakeQuant(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, step, low, high):
        ctx.save_for_backward(x, step)
        ctx.low, ctx.high = low, high
        return (x / step).round().clamp(low, high) * step

    @staticmethod
    def backward(ctx, grad):
        x, step = ctx.saved_tensors
        v = x / step
        inside = (v >= ctx.low) & (v <= ctx.high)
        d_step = torch.where(inside, v.round() - v, v.clamp(ctx.low, ctx.high))
        scale = 1.0 / (x.numel() * ctx.high) ** 0.5
        return grad * inside, ((grad * d_step).sum() * scale).reshape(step.shape), None, None


class Quantizer(nn.Module):
    def __init__(self, start, low, high):
        super().__init__()
        self.step = nn.Parameter(torch.tensor(float(start)))
        self.low, self.high = low, high

    def forward(self, x):
        return FakeQuant.apply(x, self.step.abs() + 1e-5, self.low, self.high)


class QConv(nn.Conv2d):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.wq = Quantizer(2 * self.weight.detach().abs().mean() / 7 ** 0.5, -8, 7)

    def forward(self, x):
        return self._conv_forward(x, self.wq(self.weight), self.bias)


class QuantNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = QConv(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.aq1 = Quantizer(0.2, 0, 15)
        self.conv2 = QConv(16, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.aq2 = Quantizer(0.2, 0, 15)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = F.max_pool2d(self.aq1(self.bn1(self.conv1(x)).relu()), 2)
        x = self.aq2(self.bn2(self.conv2(x)).relu())
        return self.head(x.mean((2, 3)))


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    xa, xb, ya, yb = train_test_split(d.images / 16.0, d.target, test_size=0.25, stratify=d.target, random_state=3)
    as_set = lambda x, y: TensorDataset(torch.tensor(x, dtype=torch.float32).unsqueeze(1), torch.tensor(y))
    model = QuantNet()
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    return {
        "model": model,
        "optimizer": opt,
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=25),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(as_set(xa, ya), batch_size=32, shuffle=True),
        "val_loader": DataLoader(as_set(xb, yb), batch_size=450),
    }


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(25):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        p["scheduler"].step()
        model.eval()
        with torch.no_grad():
            score = sum((model(x).argmax(1) == y).sum().item() for x, y in p["val_loader"]) / len(p["val_loader"].dataset)
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f} accuracy {score:.4f}")
    print(f"score: {score:.4f}")
