"""Two towers for images and sounds of the same object, contrastive as in CLIP; the learned scale exp(2.66) = 14.3 divides the cosines where it should multiply them, so that the logits stay within +-0.07 under cross-entropy; change: multiply."""
import math
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def world(n, seed, kind=24):
    """Objects of a hidden state; both senses see it through fixed non-linear maps and with noise."""
    fixed = torch.Generator().manual_seed(99)
    maps = [torch.randn(a, b, generator=fixed) / a ** 0.5 for a, b in ((kind, 64), (64, 100), (kind, 64), (64, 60))]
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(n, kind, generator=g)
    image = torch.tanh(1.5 * z @ maps[0]) @ maps[1]
    sound = torch.sin(1.5 * z @ maps[2]) @ maps[3]
    image, sound = image + 0.3 * torch.randn(image.shape, generator=g), sound + 0.3 * torch.randn(sound.shape, generator=g)
    return image / 0.85, sound / 0.7


def tower(n_in, dim):
    return nn.Sequential(nn.Linear(n_in, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, dim))


class TwoTowers(nn.Module):
    def __init__(self, variant, dim=32):
        super().__init__()
        self.image, self.sound = tower(100, dim), tower(60, dim)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.divide = variant == "bad"

    def forward(self, image, sound):
        u = F.normalize(self.image(image), dim=-1)
        v = F.normalize(self.sound(sound), dim=-1)
        scale = self.logit_scale.exp().clamp(max=100)
        if self.divide:
            return u @ v.T / scale
        return scale * u @ v.T


def contrastive(logits):
    y = torch.arange(len(logits))
    return (F.cross_entropy(logits, y) + F.cross_entropy(logits.T, y)) / 2


def training_step(model, batch):
    return contrastive(model(*batch))


def parts(variant):
    torch.manual_seed(0)
    model = TwoTowers(variant)
    train = TensorDataset(*world(4000, 1))
    val = TensorDataset(*world(400, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    return {
        "model": model,
        "optimizer": optimizer,
        "train_loader": DataLoader(train, batch_size=128, shuffle=True, drop_last=True),
        "val_loader": DataLoader(val, batch_size=400),
        "training_step": training_step,
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=31 * 25),
    }


@torch.no_grad()
def recall_at_1(model, loader):
    model.eval()
    hits = [(model(*b).argmax(1) == torch.arange(len(b[0]))).float() for b in loader]
    return torch.cat(hits).mean().item()


WORKS = lambda score: score > 0.5

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, scheduler = p["model"], p["optimizer"], p["scheduler"]
    for epoch in range(25):
        model.train()
        for batch in p["train_loader"]:
            loss = training_step(model, batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            scheduler.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, recall@1 {recall_at_1(model, p['val_loader']):.3f}")
    print(f"score: {recall_at_1(model, p['val_loader']):.4f}")
