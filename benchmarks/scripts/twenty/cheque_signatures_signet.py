"""A siamese network compares pen pressure traces of cheque signatures (pair is 1 if genuine-genuine, 0 if genuine-forged). Mistake: the contrastive loss pulls together at label 0 and pushes apart at label 1. change: the two label factors change places."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

TRACE = 48


class SignaturePairs(Dataset):
    """Two traces of one signer; the second is either from the signer or from a forger who draws other strokes."""

    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        t = np.linspace(0, 2 * np.pi, TRACE)
        self.items = []
        for _ in range(count):
            amp, phase = rng.normal(0, 1, 3), rng.uniform(0, 6.28, 3)
            genuine = rng.integers(0, 2)
            first = self.write(rng, t, amp, phase)
            if not genuine:
                amp = amp + rng.normal(0, 0.8, 3)
                phase = phase + rng.normal(0, 0.8, 3)
            second = self.write(rng, t, amp, phase)
            self.items.append((first, second, genuine))

    @staticmethod
    def write(rng, t, amp, phase):
        trace = sum(a * np.sin((k + 1) * t + p) for k, (a, p) in enumerate(zip(amp, phase)))
        return torch.tensor(trace + rng.normal(0, 0.1, TRACE), dtype=torch.float32)[None]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        first, second, genuine = self.items[i]
        return first, second, torch.tensor(float(genuine))


class SigNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
            nn.Flatten(), nn.Linear(32 * (TRACE // 4), 32), nn.ReLU(), nn.Linear(32, 8))

    def forward(self, a, b):
        return self.body(a), self.body(b)


class ContrastiveLoss(nn.Module):
    def __init__(self, alpha, beta, margin, pull=1):
        super().__init__()
        self.alpha, self.beta, self.margin, self.pull = alpha, beta, margin, pull

    def forward(self, x1, x2, y):
        near = (y == self.pull).float()
        distance = torch.pairwise_distance(x1, x2)
        loss = self.alpha * near * distance ** 2
        loss = loss + self.beta * (1 - near) * torch.clamp(self.margin - distance, min=0) ** 2
        return loss.mean()


def parts(variant):
    torch.manual_seed(0)
    net = SigNet()
    criterion = ContrastiveLoss(1.0, 1.0, margin=1.0, pull=0 if variant == "bad" else 1)

    def training_step(model, batch):
        first, second, y = batch
        return criterion(*model(first, second), y)

    return {"model": net, "optimizer": torch.optim.RMSprop(net.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(SignaturePairs(4000, 5), batch_size=32, shuffle=True),
            "val_loader": DataLoader(SignaturePairs(800, 6), batch_size=100)}


WORKS = lambda score: score > 0.85


def verification_accuracy(net, loader, threshold=0.5):
    net.eval()
    right = total = 0
    with torch.no_grad():
        for first, second, y in loader:
            same = torch.pairwise_distance(*net(first, second)) < threshold
            right += (same == y.bool()).sum().item()
            total += len(y)
    return right / total


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(12):
        p["model"].train()
        epoch_loss = 0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            p["optimizer"].step()
            epoch_loss += loss.item() / len(p["train_loader"])
        print(f"epoch {epoch}: loss {epoch_loss:.4f}, verification {verification_accuracy(p['model'], p['val_loader']):.3f}")
    score = verification_accuracy(p["model"], p["val_loader"])
    print(f"score: {score:.4f}")
