"""Strips of three to five handwritten 8x8 digits with uneven gaps are read by lazily built convolutions, a bidirectional LSTM and CTC; the loss stays near its all-blank plateau before the digits appear."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

WIDTH, BLANK = 64, 10


class Strips(Dataset):
    def __init__(self, images, labels, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.items = []
        for _ in range(n):
            k = int(torch.randint(3, 6, (), generator=g))
            picks = torch.randint(0, len(images), (k,), generator=g)
            canvas = 0.05 * torch.rand(8, WIDTH, generator=g)
            at = int(torch.randint(0, 5, (), generator=g))
            for i in picks:
                canvas[:, at:at + 8] += images[i]
                at += 8 + int(torch.randint(1, 5, (), generator=g))
            self.items.append((canvas.unsqueeze(0), labels[picks]))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def collate(items):
    images, words = zip(*items)
    return torch.stack(images), torch.cat(words), torch.tensor([len(w) for w in words])


class StripReader(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.LazyConv2d(24, 3, padding=1, bias=False), nn.LazyBatchNorm2d(), nn.ReLU(), nn.MaxPool2d((2, 2)),
            nn.LazyConv2d(48, 3, padding=1, bias=False), nn.LazyBatchNorm2d(), nn.ReLU(), nn.MaxPool2d((2, 1)))
        self.column = nn.LazyLinear(64)
        self.lstm = nn.LSTM(64, 48, bidirectional=True, batch_first=True)
        self.out = nn.Linear(96, 11)

    def forward(self, x):
        h = self.conv(x).permute(0, 3, 1, 2).flatten(2)
        h, _ = self.lstm(F.relu(self.column(h)))
        return F.log_softmax(self.out(h), dim=-1)


def ctc(model, batch):
    images, words, lengths = batch
    log_probs = model(images).transpose(0, 1)
    steps = torch.full((len(images),), log_probs.shape[0])
    return F.ctc_loss(log_probs, words, steps, lengths, blank=BLANK)


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    xa, xb, ya, yb = train_test_split(d.images / 16.0, d.target, test_size=0.25, stratify=d.target, random_state=5)
    make = lambda x, y, n, seed: Strips(torch.tensor(x, dtype=torch.float32), torch.tensor(y), n, seed)
    model = StripReader()
    model(torch.zeros(2, 1, 8, WIDTH))  # gives the lazy layers their shapes before the optimizer takes them
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.reset_running_stats()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "training_step": ctc,
        "train_loader": DataLoader(make(xa, ya, 1600, 1), batch_size=32, shuffle=True, collate_fn=collate),
        "val_loader": DataLoader(make(xb, yb, 300, 2), batch_size=100, collate_fn=collate),
    }


def whole_words(model, loader):
    right = total = 0
    for images, words, lengths in loader:
        for path, word in zip(model(images).argmax(-1), words.split(lengths.tolist())):
            read = torch.unique_consecutive(path)
            read = read[read != BLANK]
            right += int(torch.equal(read, word))
            total += 1
    return right / total


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            score = whole_words(model, p["val_loader"])
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f} strips read {score:.4f}")
    print(f"score: {score:.4f}")
