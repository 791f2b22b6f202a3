"""Word recognition from two streams (lips and sound), an LSTM for each, fused late; bad: forward gives the mean of the two softmaxes and cross_entropy takes it for logits. change: forward gives its logarithm."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

WORDS = 60


def clips(n, seed):
    proto = torch.Generator().manual_seed(77)
    lips = torch.randn(WORDS, 12, 6, generator=proto).cumsum(1) / 2
    sound = torch.randn(WORDS, 20, 8, generator=proto).cumsum(1) / 2
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, WORDS, (n,), generator=g)
    return (lips[y] + 2.0 * torch.randn(n, 12, 6, generator=g), sound[y] + 2.4 * torch.randn(n, 20, 8, generator=g), y)


class Stream(nn.Module):
    def __init__(self, n_in, hidden=48):
        super().__init__()
        self.lstm = nn.LSTM(n_in, hidden, batch_first=True)
        self.cls = nn.Linear(hidden, WORDS)

    def forward(self, x):
        _, (h, _) = self.lstm(x)
        return self.cls(h[-1])


class LateFusion(nn.Module):
    def __init__(self, log):
        super().__init__()
        self.video, self.audio = Stream(6), Stream(8)
        self.log = log

    def forward(self, frames, audio):
        p = 0.5 * (self.video(frames).softmax(-1) + self.audio(audio).softmax(-1))
        return p.clamp_min(1e-8).log() if self.log else p


def training_step(model, batch):
    frames, audio, word = batch
    return F.cross_entropy(model(frames, audio), word)


def parts(variant):
    torch.manual_seed(0)
    model = LateFusion(log=variant != "bad")
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        "training_step": training_step,
        "train_loader": DataLoader(TensorDataset(*clips(2000, 1)), batch_size=40, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*clips(500, 2)), batch_size=100),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            right = [(model(f, a).argmax(-1) == w).float().mean().item() for f, a, w in p["val_loader"]]
        score = sum(right) / len(right)
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.3f} word accuracy {score:.3f}")
    print(f"score: {score:.4f}")
