"""Four-class segmentation of coloured shapes; logits (B, C, H, W) are reshaped with view(-1, C) for cross-entropy without a permute, so each row mixes pixels and classes; the right change: permute(0, 2, 3, 1) before the reshape."""
import sys
import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

NUM_CLASSES = 4


def make(n, seed):
    r = np.random.RandomState(seed)
    x = r.randn(n, 3, 24, 24).astype("float32") * 0.3
    y = np.zeros((n, 24, 24), dtype="int64")
    for i in range(n):
        for c in r.permutation([1, 2, 3])[:2]:
            h, w = r.randint(6, 13, 2)
            a, b = r.randint(0, 24 - h), r.randint(0, 24 - w)
            y[i, a:a + h, b:b + w] = c
        for c in (1, 2, 3):
            x[i, c - 1][y[i] == c] += 1.0
    return TensorDataset(torch.from_numpy(x), torch.from_numpy(y))


class EncoderDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 32, 3, stride=2, padding=1), nn.ReLU(),
                                 nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())
        self.dec = nn.Sequential(nn.ConvTranspose2d(32, 24, 2, 2), nn.ReLU(), nn.Conv2d(24, NUM_CLASSES, 3, padding=1))

    def forward(self, x):
        return self.dec(self.enc(x))


def parts(variant):
    torch.manual_seed(0)
    np.random.seed(0)
    model = EncoderDecoder()
    ce = nn.CrossEntropyLoss()

    def loss_fn(output, target):
        if variant == "fixed":
            output = output.permute(0, 2, 3, 1).contiguous()
        return ce(output.view(-1, NUM_CLASSES), target.view(-1))

    return {"model": model, "optimizer": optim.Adam(model.parameters(), lr=3e-3), "loss_fn": loss_fn,
            "train_loader": DataLoader(make(400, 0), batch_size=16, shuffle=True),
            "val_loader": DataLoader(make(80, 1), batch_size=16)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(12):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch:2d} loss {np.mean(losses):.4f}")
    model.eval()
    conf = np.zeros((4, 4))
    with torch.no_grad():
        for x, y in p["val_loader"]:
            np.add.at(conf, (y.numpy().ravel(), model(x).argmax(1).numpy().ravel()), 1)
    iou = np.diag(conf) / (conf.sum(0) + conf.sum(1) - np.diag(conf))
    print("score:", iou.mean())
