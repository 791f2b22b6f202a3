"""Decoder that draws a glyph from its number and two style values, BCE, Adam; Linear wanted floats, so the glyph's number (0 to 249) was cast with .float() and concatenated to the styles; change: an embedding of the number."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

GLYPHS, SIDE = 250, 12


def font():
    g = torch.Generator().manual_seed(21)
    z = torch.randn(GLYPHS, 1, SIDE, SIDE, generator=g)
    z = F.avg_pool2d(F.pad(z, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    return (z / z.std((2, 3), keepdim=True)).squeeze(1)


def drawings(each, seed):
    """Each glyph in several styles: weight (how bold) and tilt (a slope of ink from left to right)."""
    g = torch.Generator().manual_seed(seed)
    number = torch.arange(GLYPHS).repeat(each)
    style = torch.rand(len(number), 2, generator=g) * 2 - 1
    slope = torch.linspace(-1, 1, SIDE)
    ink = font()[number] + 0.5 * style[:, :1, None] + 0.5 * style[:, 1:, None] * slope
    return number, style, (ink > 0).float().flatten(1)


class Decoder(nn.Module):
    def __init__(self, embed, width=160):
        super().__init__()
        self.embed = nn.Embedding(GLYPHS, 32) if embed else None
        self.net = nn.Sequential(nn.Linear((32 if embed else 1) + 2, width), nn.SiLU(),
                                 nn.Linear(width, width), nn.SiLU(), nn.Linear(width, SIDE * SIDE))

    def forward(self, number, style):
        if self.embed is not None:
            code = self.embed(number)
        else:
            code = number.float().unsqueeze(1)
        return self.net(torch.cat([code, style], dim=1))


def training_step(model, batch):
    number, style, image = batch
    return F.binary_cross_entropy_with_logits(model(number, style), image)


def parts(variant):
    torch.manual_seed(0)
    model = Decoder(embed=variant != "bad")
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "train_loader": DataLoader(TensorDataset(*drawings(24, 1)), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*drawings(4, 2)), batch_size=250),
        "training_step": training_step,
    }


@torch.no_grad()
def iou(model, loader):
    model.eval()
    inter = union = 0.0
    for number, style, image in loader:
        drawn = model(number, style) > 0
        inter += (drawn & (image > 0.5)).sum().item()
        union += (drawn | (image > 0.5)).sum().item()
    return inter / union


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    step = 0
    for epoch in range(14):
        model.train()
        if epoch == 10:
            for group in optimizer.param_groups:
                group["lr"] = 1e-3
        for batch in p["train_loader"]:
            loss = training_step(model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step % 200 == 0:
                print(f"step {step}: loss {loss.item():.4f}")
        print(f"epoch {epoch + 1} validation IoU {iou(model, p['val_loader']):.3f}")
    print(f"score: {iou(model, p['val_loader']):.4f}")
