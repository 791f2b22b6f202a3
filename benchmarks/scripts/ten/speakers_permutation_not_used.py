"""Who speaks, from mel frames, CNN with batch norm, nll_loss, SGD with momentum; the own batch class draws a permutation each epoch and then slices the recordings, which lie speaker by speaker, without it; change: slice the permutation."""
import sys
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SPEAKERS, MELS, FRAMES = 8, 20, 24


def recordings(each, seed):
    voice = np.random.default_rng(11)
    formants = voice.uniform(2, MELS - 3, (SPEAKERS, 3))
    pace = voice.uniform(0.3, 1.2, SPEAKERS)
    rng = np.random.default_rng(seed)
    mel, frame = np.arange(MELS)[:, None], np.arange(FRAMES)[None, :]
    xs, ys = [], []
    for speaker in range(SPEAKERS):  # a folder for each speaker
        for _ in range(each):
            x = 0.9 * rng.standard_normal((MELS, FRAMES))
            for f in formants[speaker] + 0.6 * rng.standard_normal(3):
                wobble = f + 1.2 * np.sin(pace[speaker] * frame + rng.uniform(0, 6.3))
                x += rng.uniform(0.8, 1.6) * np.exp(-0.5 * (mel - wobble) ** 2)
            xs.append(x)
            ys.append(speaker)
    x = torch.tensor(np.stack(xs), dtype=torch.float32).unsqueeze(1)
    return x, torch.tensor(ys)


class Batches:
    def __init__(self, x, y, size, use_order, train=True):
        self.x, self.y, self.size, self.use_order, self.train = x, y, size, use_order, train

    def __len__(self):
        return (len(self.x) + self.size - 1) // self.size

    def __iter__(self):
        order = torch.randperm(len(self.x)) if self.train else torch.arange(len(self.x))
        for start in range(0, len(self.x), self.size):
            if self.use_order:
                pick = order[start:start + self.size]
                yield self.x[pick], self.y[pick]
            else:
                yield self.x[start:start + self.size], self.y[start:start + self.size]


class SpeakerNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d((1, 2)))
        self.fc = nn.Linear(32 * 10, SPEAKERS)

    def forward(self, x):
        h = self.body(x).mean(3).flatten(1)
        return F.log_softmax(self.fc(h), dim=1)


def parts(variant):
    torch.manual_seed(0)
    x, y = recordings(160, 1)
    vx, vy = recordings(40, 2)
    m, s = x.mean(), x.std()
    model = SpeakerNet()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9),
        "loss_fn": F.nll_loss,
        "train_loader": Batches((x - m) / s, y, 32, use_order=variant != "bad"),
        "val_loader": Batches((vx - m) / s, vy, 64, use_order=True, train=False),
        "metric": lambda output, target: (output.argmax(1) == target).float().mean().item(),
    }


WORKS = lambda score: score > 0.85


class Trainer:
    def __init__(self, p):
        self.p = p
        self.model, self.opt = p["model"], p["optimizer"]

    def fit(self, epochs):
        for epoch in range(epochs):
            self.model.train()
            total = 0.0
            for x, y in self.p["train_loader"]:
                self.opt.zero_grad()
                loss = F.nll_loss(self.model(x), y)
                loss.backward()
                self.opt.step()
                total += loss.item()
            print(f"epoch {epoch + 1}: loss {total / len(self.p['train_loader']):.4f}, accuracy {self.accuracy():.3f}")

    @torch.no_grad()
    def accuracy(self):
        self.model.eval()
        right = [(self.model(x).argmax(1) == y) for x, y in self.p["val_loader"]]
        return torch.cat(right).float().mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    trainer = Trainer(parts(sys.argv[1] if len(sys.argv) > 1 else "fixed"))
    trainer.fit(8)
    print(f"score: {trainer.accuracy():.4f}")
