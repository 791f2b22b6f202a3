"""Sound: bidirectional LSTM on whale calls of 5 to 40 steps, padded in collate_fn and packed with their lengths. change: none."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader


def calls(n, seed):
    r = np.random.RandomState(seed)
    out = []
    for _ in range(n):
        k, length = r.randint(4), r.randint(5, 41)
        u = np.linspace(0, 1, length)
        pitch = [u, 1 - u, 4 * u * (1 - u), 1 - 4 * u * (1 - u)][k] + 0.15 * r.randn(length)
        loud = r.uniform(0.5, 1.5) + 0.2 * r.randn(length)
        out.append((torch.tensor(np.stack([pitch, loud], 1), dtype=torch.float32), k))
    return out


def collate(batch):
    seqs, labels = zip(*batch)
    return (pad_sequence(seqs, batch_first=True), torch.tensor([len(s) for s in seqs])), torch.tensor(labels)


class CallNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(2, 32, batch_first=True, bidirectional=True)
        self.fc = nn.Sequential(nn.Dropout(0.2), nn.Linear(64, 4))

    def forward(self, inputs):
        x, lengths = inputs
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        _, (h, _) = self.lstm(packed)
        return self.fc(torch.cat([h[-2], h[-1]], 1))


def parts(variant):
    torch.manual_seed(0)
    model = CallNet()
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(), "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "train_loader": DataLoader(calls(1500, 0), batch_size=32, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(calls(300, 1), batch_size=100, collate_fn=collate)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            p["optimizer"].step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            acc = np.mean([(model(x).argmax(1) == y).float().mean().item() for x, y in p["val_loader"]])
        print(f"epoch {epoch}: loss {np.mean(losses):.4f} acc {acc:.4f}")
    print(f"score: {acc:.4f}")
