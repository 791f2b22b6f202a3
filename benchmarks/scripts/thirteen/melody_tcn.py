"""Next-note model of melodies by dilated convolutions; bad: the convolutions are padded on both sides, so position t sees t+1, the loss is near 0 and the continuations are nonsense; change: padding on the left alone."""
import sys
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

NOTES, LENGTH = 12, 40
GEN = torch.Generator().manual_seed(21)
NEXT = torch.randint(0, NOTES, (NOTES, NOTES), generator=GEN)  # what mostly follows a pair of notes
ALTERNATIVE = (NEXT + 1 + torch.randint(0, NOTES - 1, (NOTES, NOTES), generator=GEN)) % NOTES


def melodies(n, seed):
    g = torch.Generator().manual_seed(seed)
    m = torch.randint(0, NOTES, (n, LENGTH + 1), generator=g)
    for t in range(2, LENGTH + 1):
        usual = torch.rand(n, generator=g) < 0.7
        a, b = m[:, t - 2], m[:, t - 1]
        free = torch.rand(n, generator=g) < 0.05
        m[:, t] = torch.where(free, m[:, t], torch.where(usual, NEXT[a, b], ALTERNATIVE[a, b]))
    return m


class ConvBlock(nn.Module):
    def __init__(self, channels, dilation, left):
        super().__init__()
        self.pad = (left * dilation, (2 - left) * dilation)
        self.conv = nn.Conv1d(channels, channels, 3, dilation=dilation)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, x):
        return x + self.mix(F.gelu(self.conv(F.pad(x, self.pad))))


class MelodyNet(nn.Module):
    def __init__(self, left, channels=48):
        super().__init__()
        self.embed = nn.Embedding(NOTES, channels)
        self.blocks = nn.Sequential(*[ConvBlock(channels, d, left) for d in (1, 2, 4)])
        self.head = nn.Conv1d(channels, NOTES, 1)

    def forward(self, notes):
        x = self.embed(notes).transpose(1, 2)
        return self.head(self.blocks(x))  # (batch, notes, time), as cross_entropy wants it


@torch.no_grad()
def continuation_score(model, starts, steps=20):
    """Share of generated notes that a melody could have there."""
    model.eval()
    begin, good = starts.shape[1], 0.0
    seq = F.pad(starts, (0, steps))  # filled from left to right
    for t in range(begin, begin + steps):
        note = model(seq)[:, :, t - 1].argmax(1)
        a, b = seq[:, t - 2], seq[:, t - 1]
        good += ((note == NEXT[a, b]) | (note == ALTERNATIVE[a, b])).float().mean().item()
        seq[:, t] = note
    return good / steps


def parts(variant):
    torch.manual_seed(0)
    train, val = melodies(800, 1), melodies(150, 2)
    model = MelodyNet(left=1 if variant == "bad" else 2)
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(train[:, :-1], train[:, 1:]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(val[:, :-1], val[:, 1:]), batch_size=75)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            val = sum(p["loss_fn"](model(x), y).item() for x, y in p["val_loader"]) / len(p["val_loader"])
        print(f"epoch {epoch}: train {sum(losses) / len(losses):.4f} val {val:.4f}")
    score = continuation_score(model, melodies(100, 3)[:, :LENGTH // 2])
    print(f"score: {score:.4f}")
