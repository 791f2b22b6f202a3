"""Which of 60 speakers, from 24 frames of cepstra, by an x-vector net (time-delay layers and pooled statistics), SGD; the paper's table of layers ends in "softmax" and so does the net, while cross-entropy has its own: hardly any gradient is left; change: the last layer is the linear one."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SPEAKERS, FRAMES, CEPSTRA = 60, 24, 12


def utterances(n, seed):
    """A speaker has a mean voice and a way to move; frames follow a smooth random path about it."""
    s = torch.Generator().manual_seed(17)
    voice = 0.7 * torch.randn(SPEAKERS, 1, CEPSTRA, generator=s)
    shape = 1 + 0.5 * torch.randn(SPEAKERS, 1, CEPSTRA, generator=s)
    g = torch.Generator().manual_seed(seed)
    who = torch.randint(0, SPEAKERS, (n,), generator=g)
    path = torch.randn(n, FRAMES + 3, CEPSTRA, generator=g).unfold(1, 4, 1).mean(-1) * 2
    x = voice[who] + shape[who] * path + 0.25 * torch.randn(n, 1, CEPSTRA, generator=g)
    return (x / 1.35).transpose(1, 2), who


def tdnn(a, b, width, dilation=1):
    return nn.Sequential(nn.Conv1d(a, b, width, dilation=dilation), nn.ReLU(), nn.BatchNorm1d(b))


class XVector(nn.Module):
    def __init__(self, as_in_table):
        super().__init__()
        self.frames = nn.Sequential(tdnn(CEPSTRA, 48, 5), tdnn(48, 48, 3, 2), tdnn(48, 64, 1))
        self.segment6 = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.BatchNorm1d(64))
        last = [nn.Linear(64, SPEAKERS)]
        if as_in_table:
            last.append(nn.Softmax(dim=1))
        self.output = nn.Sequential(*last)

    def forward(self, x):
        h = self.frames(x)
        stats = torch.cat([h.mean(2), (h.var(2) + 1e-5).sqrt()], 1)
        return self.output(self.segment6(stats))


def parts(variant):
    torch.manual_seed(0)
    model = XVector(as_in_table=variant == "bad")
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(*utterances(3200, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*utterances(600, 2)), batch_size=200),
        "metric": lambda output, target: (output.argmax(1) == target).float().mean().item(),
    }


def run_epoch(model, loader, criterion, optimizer=None):
    model.train(optimizer is not None)
    loss_sum = right = seen = 0
    with torch.set_grad_enabled(optimizer is not None):
        for x, who in loader:
            out = model(x)
            loss = criterion(out, who)
            if optimizer is not None:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            loss_sum += loss.item() * len(who)
            right += (out.argmax(1) == who).sum().item()
            seen += len(who)
    return loss_sum / seen, right / seen


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(7):
        loss, acc = run_epoch(p["model"], p["train_loader"], p["loss_fn"], p["optimizer"])
        val_loss, value = run_epoch(p["model"], p["val_loader"], p["loss_fn"])
        print(f"epoch {epoch + 1}: train {loss:.3f} / {acc:.3f}, validation {val_loss:.3f} / {value:.3f}")
    print(f"score: {value:.4f}")
