"""No mistake: residual MLP of 30 blocks with LayerNorm and stochastic depth (drop path up to 0.4) on tabular data, SGD at 0.1 with warm-up and cosine by the batch."""
import math
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 8


def table(n, seed):
    w = torch.Generator().manual_seed(3)
    a, b = torch.randn(16, 24, generator=w) / 4, torch.randn(24, 5, generator=w)
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 16, generator=g)
    score = torch.sin(1.3 * x @ a) @ b
    return x, score.argmax(1)


class Block(nn.Module):
    def __init__(self, dim, drop):
        super().__init__()
        self.norm, self.up, self.down, self.drop = nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim), drop

    def forward(self, x):
        h = self.down(torch.relu(self.up(self.norm(x))))
        if self.training and self.drop:
            keep = (torch.rand(len(x), 1) >= self.drop).float()
            h = h * keep / (1 - self.drop)
        return x + h


class DeepNet(nn.Module):
    def __init__(self, dim=48, depth=30):
        super().__init__()
        self.stem = nn.Linear(16, dim)
        self.blocks = nn.ModuleList([Block(dim, 0.4 * i / depth) for i in range(depth)])
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 5))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = DeepNet()
    train = DataLoader(TensorDataset(*table(6000, 1)), batch_size=64, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    total, warm = EPOCHS * len(train), 40
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / warm, 0.5 * (1 + math.cos(math.pi * min(s / total, 1)))))
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler, "train_loader": train,
            "val_loader": DataLoader(TensorDataset(*table(1000, 2)), batch_size=500), "loss_fn": nn.CrossEntropyLoss()}


WORKS = lambda score: score > 0.5  # of five classes


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    return sum((model(x).argmax(1) == y).sum().item() for x, y in loader) / len(loader.dataset)


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(*sys.argv[1:2])
    for epoch in range(EPOCHS):
        p["model"].train()
        total = 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            p["scheduler"].step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.4f}  val accuracy {accuracy(p['model'], p['val_loader']):.3f}")
    print(f"score: {accuracy(p['model'], p['val_loader']):.4f}")
