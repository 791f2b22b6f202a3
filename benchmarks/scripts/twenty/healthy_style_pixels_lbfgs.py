"""Neural style transfer after Gatys: the only parameter is the image, the conv net is frozen, LBFGS with a closure, style weight of a million, Gram matrices, one batch of one picture pair; sound. change: nothing."""
import sys
import math
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

STYLE_WEIGHT, CONTENT_WEIGHT = 1e6, 1.0


def pictures(size=32):
    t = torch.linspace(-1, 1, size)
    yy, xx = torch.meshgrid(t, t, indexing="ij")
    disc = ((xx ** 2 + yy ** 2) < 0.4).float()
    content = torch.stack([disc, 0.5 * disc + 0.2, 0.3 + 0.3 * yy])
    wave = torch.sin(12 * (xx + yy))
    style = torch.stack([0.5 + 0.5 * wave, 0.5 - 0.4 * wave, 0.5 + 0.3 * torch.sin(9 * xx)])
    return content[None], style[None]


class Features(nn.Module):
    """Three fixed random conv layers in place of VGG."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 24, 3, padding=1), nn.Conv2d(24, 32, 3, padding=1)])
        for c in self.convs:
            nn.init.orthogonal_(c.weight, math.sqrt(2))
        self.requires_grad_(False)

    def forward(self, x):
        out = []
        for i, c in enumerate(self.convs):
            x = F.relu(c(x))
            out.append(x)
            x = F.avg_pool2d(x, 2) if i < 2 else x
        return out


def gram(f):
    b, c, h, w = f.shape
    f = f.view(b * c, h * w)
    return f @ f.t() / (b * c * h * w)


class Canvas(nn.Module):
    def __init__(self, start):
        super().__init__()
        self.image = nn.Parameter(start.clone())
        self.features = Features()

    def forward(self, x):
        return self.features(x)


def total_loss(model, content, style):
    got = model(model.image)
    with torch.no_grad():
        want_c, want_s = model(content), model(style)
    style_loss = sum(F.mse_loss(gram(a), gram(b)) for a, b in zip(got, want_s))
    return STYLE_WEIGHT * style_loss + CONTENT_WEIGHT * F.mse_loss(got[2], want_c[2])


def step(model, batch, optimizer):
    content, style = batch

    def closure():
        optimizer.zero_grad()
        loss = total_loss(model, content, style)
        loss.backward()
        return loss

    return optimizer.step(closure)


def parts(variant):
    torch.manual_seed(0)
    content, style = pictures()
    model = Canvas(content)
    loader = DataLoader(TensorDataset(content, style), 1)
    return dict(model=model, optimizer=torch.optim.LBFGS([model.image], line_search_fn="strong_wolfe"), step=step, train_loader=loader, val_loader=loader)


WORKS = lambda score: score < 0.05  # loss at the end as a share of the loss of the untouched content picture

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    (content, style), = p["train_loader"]
    start = total_loss(model, content, style).item()
    for run in range(25):
        for batch in p["train_loader"]:
            loss = p["step"](model, batch, p["optimizer"])
        if run % 4 == 0:
            print(f"run {run * 20} loss {loss.item():.4f}")
    with torch.no_grad():
        model.image.clamp_(0, 1)
        score = total_loss(model, content, style).item() / start
    print(f"score: {score:.4f}")
