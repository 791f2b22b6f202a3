"""Vision transformer on sklearn's digits (0..16), AdamW; the training images are standardised, the validation images are divided by 255 as if they were bytes and not standardised; change: the same preparation for both."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, Dataset


class Digits(Dataset):
    def __init__(self, images, labels, transform):
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.transform(torch.tensor(self.images[i], dtype=torch.float32)[None]), int(self.labels[i])


class ViT(nn.Module):
    def __init__(self, dim=48, depth=2):
        super().__init__()
        self.patches = nn.Conv2d(1, dim, 2, stride=2)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos = nn.Parameter(0.02 * torch.randn(1, 17, dim))
        layer = nn.TransformerEncoderLayer(dim, 4, 96, dropout=0.1, activation="gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 10))

    def forward(self, x):
        h = self.patches(x).flatten(2).transpose(1, 2)
        h = torch.cat([self.cls.expand(len(h), -1, -1), h], 1) + self.pos
        return self.head(self.blocks(h)[:, 0])


def parts(variant):
    torch.manual_seed(0)
    digits = load_digits()
    xa, xb, ya, yb = train_test_split(digits.images, digits.target, test_size=0.25, random_state=0, stratify=digits.target)
    mean, std = float(xa.mean()), float(xa.std())
    train_transform = lambda x: (x - mean) / std
    val_transform = (lambda x: x / 255) if variant == "bad" else train_transform
    model = ViT()
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(Digits(xa, ya, train_transform), batch_size=64, shuffle=True),
        "val_loader": DataLoader(Digits(xb, yb, val_transform), batch_size=150),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
    }


WORKS = lambda score: score > 0.8


class Trainer:
    def __init__(self, p):
        self.__dict__.update(p)

    def epoch(self):
        self.model.train()
        for x, y in self.train_loader:
            self.optimizer.zero_grad()
            loss = self.loss_fn(self.model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        return sum(self.metric(self.model(x), y) * len(y) for x, y in self.val_loader) / len(self.val_loader.dataset)


if __name__ == "__main__":
    torch.set_num_threads(1)
    trainer = Trainer(parts(sys.argv[1] if len(sys.argv) > 1 else "fixed"))
    for epoch in range(13):
        loss = trainer.epoch()
        print(f"epoch {epoch}: train loss {loss:.4f}, val accuracy {trainer.validate():.4f}")
    print(f"score: {trainer.validate():.4f}")
