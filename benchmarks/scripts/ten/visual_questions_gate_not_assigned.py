"""Questions about pictures ("what colour is the cross?"), CNN gated by the question, RMSprop; `feat.mul(gate)` returns a new tensor that nobody keeps, so the question is never heard; change: assign the product."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

S = 24
COLOURS = torch.tensor([[1.0, 0.1, 0.1], [0.1, 1.0, 0.1], [0.1, 0.2, 1.0], [1.0, 1.0, 0.1]])
WORDS = "<pad> what colour is the square cross ring bar has shown".split()


def stamps():
    a = torch.zeros(4, 7, 7)
    a[0] = 1
    a[1, 3], a[1, :, 3] = 1, 1
    a[2] = 1
    a[2, 2:5, 2:5] = 0
    a[3, 2:5] = 1
    return a


def scenes(n, seed):
    g = torch.Generator().manual_seed(seed)
    shape = stamps()
    img = 0.15 * torch.randn(n, 3, S, S, generator=g)
    ask = torch.zeros(n, 5, dtype=torch.long)
    answer = torch.zeros(n, dtype=torch.long)
    for i in range(n):
        kinds = torch.randperm(4, generator=g)[:3]
        cells = torch.randperm(4, generator=g)[:3]
        colours = torch.randint(4, (3,), generator=g)
        for k, c, col in zip(kinds, cells, colours):
            jitter = torch.randint(0, 5, (2,), generator=g)
            r, q = (int(c) // 2) * 12 + int(jitter[0]), (int(c) % 2) * 12 + int(jitter[1])
            img[i, :, r:r + 7, q:q + 7] += COLOURS[col][:, None, None] * shape[k]
        ask[i] = torch.tensor([1, 2, 3, 4, 5 + int(kinds[0])])
        answer[i] = colours[0]
    return img, ask, answer


class GatedVQA(nn.Module):
    def __init__(self, keep, d=64):
        super().__init__()
        self.keep = keep
        self.conv = nn.Sequential(
            nn.Conv2d(3, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(),
            nn.Conv2d(48, d, 3, padding=1), nn.BatchNorm2d(d), nn.ReLU())
        self.words = nn.Embedding(len(WORDS), 24, padding_idx=0)
        self.reader = nn.GRU(24, 48, batch_first=True)
        self.gate = nn.Linear(48, d)
        self.answer = nn.Sequential(nn.Linear(d, 64), nn.ReLU(), nn.Linear(64, 4))

    def forward(self, img, ask):
        feat = self.conv(img)
        _, q = self.reader(self.words(ask))
        gate = torch.sigmoid(self.gate(q[-1]))
        feat = F.adaptive_max_pool2d(feat, 1).flatten(1)
        if self.keep:
            feat = feat.mul(gate)
        else:
            feat.mul(gate)
        return self.answer(feat)


def training_step(model, batch):
    img, ask, answer = batch
    return F.cross_entropy(model(img, ask), answer)


def parts(variant):
    torch.manual_seed(0)
    model = GatedVQA(keep=variant != "bad")
    return {
        "model": model,
        "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-3),
        "train_loader": DataLoader(TensorDataset(*scenes(3000, 1)), batch_size=40, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*scenes(600, 2)), batch_size=200),
        "training_step": training_step,
    }


def accuracy(model, loader):
    model.eval()
    right = n = 0
    with torch.no_grad():
        for img, ask, answer in loader:
            right += (model(img, ask).argmax(1) == answer).sum().item()
            n += len(answer)
    return right / n


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(8):
        model.train()
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            optimizer.step()
        value = accuracy(model, p["val_loader"])
        print(f"epoch {epoch}: last loss {loss.item():.3f}, validation accuracy {value:.3f}")
    print(f"score: {value:.4f}")
