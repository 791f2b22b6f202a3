"""Sound: two encoders, one for woven patterns and one for their descriptions, trained as in CLIP with both directions of cross-entropy and a learned, clamped temperature; a short warm-up. change: nothing."""
import sys
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

COLOURS = np.array([[0.9, 0.1, 0.1], [0.1, 0.5, 0.1], [0.1, 0.2, 0.8], [0.9, 0.8, 0.1], [0.95, 0.95, 0.95]])
# words: 0 pad, 1-5 ground colour, 6-10 stripe colour, 11-13 width, 14 upright, 15 across, 16-19 fillers


def tartans(n, seed):
    rng = np.random.default_rng(seed)
    ground, width, upright = rng.integers(0, 5, n), rng.integers(1, 4, n), rng.integers(0, 2, n)
    stripe = (ground + rng.integers(1, 5, n)) % 5
    images, texts = [], []
    for i in range(n):
        img = np.tile(COLOURS[ground[i]][:, None, None], (1, 12, 12))
        start = int(rng.integers(0, 12 - width[i]))
        band = slice(start, start + width[i])
        if upright[i]:
            img[:, :, band] = COLOURS[stripe[i]][:, None, None]
        else:
            img[:, band, :] = COLOURS[stripe[i]][:, None, None]
        images.append(img + 0.05 * rng.normal(size=img.shape))
        words = [1 + ground[i], 6 + stripe[i], 10 + width[i], 15 - upright[i]] + list(rng.integers(16, 20, rng.integers(0, 4)))
        rng.shuffle(words)
        texts.append(np.pad(words, (0, 7 - len(words))))
    label = ((ground * 5 + stripe) * 3 + width - 1) * 2 + upright
    return TensorDataset(torch.tensor(np.array(images), dtype=torch.float32), torch.tensor(np.array(texts)).long(), torch.tensor(label))


class CLIP(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 36, d))
        self.words = nn.EmbeddingBag(20, 48, mode="sum", padding_idx=0)
        self.text = nn.Sequential(nn.Linear(48, 64), nn.ReLU(), nn.Linear(64, d))
        self.logit_scale = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))

    def forward(self, image, text):
        i = F.normalize(self.image(image), dim=1)
        t = F.normalize(self.text(self.words(text)), dim=1)
        return self.logit_scale.exp().clamp(max=100) * i @ t.T


def training_step(model, batch):
    logits = model(batch[0], batch[1])
    here = torch.arange(len(logits))
    return (F.cross_entropy(logits, here) + F.cross_entropy(logits.T, here)) / 2


def parts(variant):
    torch.manual_seed(0)
    model = CLIP()
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}], lr=1e-3)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1.0, (s + 1) / 50))
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler, "training_step": training_step,
            "train_loader": DataLoader(tartans(3000, 1), 60, shuffle=True), "val_loader": DataLoader(tartans(400, 2), 400)}


@torch.no_grad()
def retrieval(model, loader):
    """Is the description found for a pattern one of an equal pattern, among four hundred?"""
    image, text, label = next(iter(loader))
    return (label[model(image, text).argmax(1)] == label).float().mean().item()


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(15):
        losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            p["scheduler"].step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.4f}, found {retrieval(p['model'], p['val_loader']):.3f}")
    print(f"score: {retrieval(p['model'], p['val_loader']):.4f}")
