"""Healthy: a net with weights and activations of -1 and 1 (straight-through gradients, latent weights clipped after each step in the optimizer's hook), cross-entropy on scaled logits; half of the gradients are zero and the training loss is jumpy."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() <= 1)


class BinaryLinear(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(b, a).uniform_(-0.3, 0.3))
        self.scale = a ** -0.5

    def forward(self, x):
        return F.linear(x, Sign.apply(self.weight)) * self.scale


class BinaryNet(nn.Module):
    def __init__(self, width=256):
        super().__init__()
        self.l1, self.n1 = BinaryLinear(64, width), nn.BatchNorm1d(width)
        self.l2, self.n2 = BinaryLinear(width, width), nn.BatchNorm1d(width)
        self.l3, self.n3 = BinaryLinear(width, 10), nn.BatchNorm1d(10)

    def forward(self, x):
        x = Sign.apply(self.n1(self.l1(x)))
        x = Sign.apply(self.n2(self.l2(x)))
        return 2 * self.n3(self.l3(x))


def parts(variant="fixed"):
    torch.manual_seed(0)
    d = load_digits()
    order = torch.randperm(len(d.target), generator=torch.Generator().manual_seed(8))
    x, y = torch.tensor(d.data, dtype=torch.float32)[order], torch.tensor(d.target)[order]
    x = (x - 4.88) / 6.02
    model = BinaryNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    latent = [m.weight for m in model.modules() if isinstance(m, BinaryLinear)]

    def clip_latent(opt, args, kwargs):
        with torch.no_grad():
            for w in latent:
                w.clamp_(-1, 1)

    optimizer.register_step_post_hook(clip_latent)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.85),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397),
        "metric": lambda output, target: (output.argmax(1) == target).float().mean().item(),
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        model.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
        p["scheduler"].step()
        model.eval()
        with torch.no_grad():
            value = sum(p["metric"](model(x), y) for x, y in p["val_loader"]) / len(p["val_loader"])
        print(f"epoch {epoch + 1}: loss {loss.item():.4f} accuracy {value:.3f}")
    print(f"score: {value:.4f}")
