"""Forty spoken keywords as small mel spectrograms, a two-block CNN with SGD; bad: the network ends in nn.Softmax and is trained with CrossEntropyLoss, which applies the softmax again; change: the head returns logits."""
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

N_WORDS, N_MELS, FRAMES = 40, 24, 32


def synth(n, templates, g):
    y = torch.randint(0, N_WORDS, (n,), generator=g)
    x = templates[y].clone()
    shift = torch.randint(-3, 4, (n,), generator=g)
    x = torch.stack([torch.roll(s, int(k), dims=-1) for s, k in zip(x, shift)])
    loudness = 0.6 + 0.8 * torch.rand(n, 1, 1, generator=g)
    x = x * loudness + 0.4 * torch.randn(x.shape, generator=g)
    return x.unsqueeze(1), y


def make_templates(g):
    t = torch.arange(FRAMES).float()
    mel = torch.arange(N_MELS).float()[:, None]
    out = torch.zeros(N_WORDS, N_MELS, FRAMES)
    for w in range(N_WORDS):
        for _ in range(3):
            start, end = torch.rand(2, generator=g) * (N_MELS - 4) + 2
            on, length = torch.rand(1, generator=g) * 14 + 3, torch.rand(1, generator=g) * 10 + 5
            centre = start + (end - start) * ((t - on) / length).clamp(0, 1)
            gate = torch.sigmoid(2 * (t - on)) * torch.sigmoid(2 * (on + length - t))
            out[w] += 1.5 * gate * torch.exp(-((mel - centre) ** 2) / 2.5)
    return out


class KeywordNet(nn.Module):
    def __init__(self, probabilities):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2))
        layers = [nn.Flatten(), nn.Linear(32 * (N_MELS // 4) * (FRAMES // 4), 96), nn.ReLU(), nn.Linear(96, N_WORDS)]
        if probabilities:
            layers.append(nn.Softmax(dim=1))
        self.classifier = nn.Sequential(*layers)

    def forward(self, x):
        return self.classifier(self.features(x))


def parts(variant):
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(11)
    templates = make_templates(g)
    train, val = TensorDataset(*synth(2400, templates, g)), TensorDataset(*synth(600, templates, g))
    net = KeywordNet(probabilities=variant == "bad")
    opt = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    return dict(model=net, optimizer=opt, loss_fn=nn.CrossEntropyLoss(),
                train_loader=DataLoader(train, batch_size=64, shuffle=True), val_loader=DataLoader(val, batch_size=200))


WORKS = lambda score: score > 0.7


def accuracy(net, loader):
    net.eval()
    hits = total = 0
    with torch.no_grad():
        for x, y in loader:
            hits += (net(x).argmax(1) == y).sum().item()
            total += len(y)
    return hits / total


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(8):
        net.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(net(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch}  loss {total / len(p['train_loader']):.4f}  val acc {accuracy(net, p['val_loader']):.3f}")
    score = accuracy(net, p["val_loader"])
    print(f"score: {score:.4f}")
