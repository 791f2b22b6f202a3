"""Which place each number takes when a list is sorted, by a transformer that runs one and the same block six times (as ALBERT does); the weights are shared on purpose and nothing is wrong. change: none."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

LENGTH, TOP = 8, 50


def lists(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.stack([torch.randperm(TOP, generator=g)[:LENGTH] for _ in range(n)])
    return x, x.argsort(1).argsort(1)


class Albert(nn.Module):
    def __init__(self, d=48, times=6):
        super().__init__()
        self.embed = nn.Embedding(TOP, d)
        block = nn.TransformerEncoderLayer(d, 4, 2 * d, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.ModuleList([block] * times)
        self.norm = nn.LayerNorm(d)
        self.out = nn.Linear(d, LENGTH)

    def forward(self, x):
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x))


def training_step(model, batch):
    x, rank = batch
    return nn.functional.cross_entropy(model(x).transpose(1, 2), rank)


def parts(variant):
    torch.manual_seed(0)
    model = Albert()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return dict(model=model, optimizer=optimizer, training_step=training_step,
                scheduler=torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1, (s + 1) / 50)),
                train_loader=DataLoader(TensorDataset(*lists(3200, 1)), batch_size=64, shuffle=True),
                val_loader=DataLoader(TensorDataset(*lists(400, 2)), batch_size=200))


# share of places right
WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        total = 0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            p["optimizer"].step()
            p["scheduler"].step()
            total += loss.item()
        print(f"epoch {epoch + 1}: {total / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        score = torch.cat([(model(x).argmax(-1) == r).flatten() for x, r in p["val_loader"]]).float().mean().item()
    print(f"score: {score:.4f}")
