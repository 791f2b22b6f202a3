"""Phoneme recognition with CTC on synthetic filter-bank frames: (batch, time, class) is brought to (time, batch, class) by reshape, which mixes utterances and times; change: transpose(0, 1)."""
import sys, torch
import torch.nn as nn
from torch.utils.data import DataLoader

N_PH, DIM = 7, 13                       # phonemes 1..7, blank 0

def utterances(n, seed):
    proto = torch.randn(N_PH + 1, DIM, generator=torch.Generator().manual_seed(77)) * 1.2
    g = torch.Generator().manual_seed(seed); R = lambda a, b: torch.randint(a, b, (1,), generator=g).item()
    out = []
    for _ in range(n):
        seq = [R(1, N_PH + 1) for _ in range(R(3, 6))]
        frames = torch.cat([proto[s].repeat(R(4, 8), 1) for s in seq])
        out.append((frames + 0.7 * torch.randn(frames.shape, generator=g), torch.tensor(seq)))
    return out

def collate(b):
    x = nn.utils.rnn.pad_sequence([f for f, _ in b], batch_first=True)
    return x, torch.tensor([len(f) for f, _ in b]), torch.cat([s for _, s in b]), torch.tensor([len(s) for _, s in b])

class Recognizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(DIM, 48, 3, padding=1)
        self.gru = nn.GRU(48, 48, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(96, N_PH + 1)
    def forward(self, x):
        h = torch.relu(self.conv(x.transpose(1, 2))).transpose(1, 2)
        return self.fc(self.gru(h)[0]).log_softmax(-1)

ctc = nn.CTCLoss(blank=0, zero_infinity=True)

def make_step(right):
    def training_step(model, batch):
        x, xlen, y, ylen = batch
        logp = model(x)                                     # CTCLoss wants (T, N, C)
        if right:
            logp = logp.transpose(0, 1)
        else:
            logp = logp.reshape(logp.size(1), logp.size(0), -1)
        return ctc(logp, y, xlen, ylen)
    return training_step

def parts(variant):
    torch.manual_seed(0)
    model = Recognizer()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3), training_step=make_step(variant == "fixed"),
                train_loader=DataLoader(utterances(800, 0), 16, shuffle=True, collate_fn=collate),
                val_loader=DataLoader(utterances(150, 1), 50, collate_fn=collate))

WORKS = lambda score: score < 0.3       # phoneme error rate

def edit(a, b):
    d = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        p, d[0] = d[0], i
        for j, y in enumerate(b, 1):
            p, d[j] = d[j], min(d[j] + 1, d[j - 1] + 1, p + (x != y))
    return d[-1]

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad"); model, opt = p["model"], p["optimizer"]
    for epoch in range(8):
        model.train(); t = 0
        for b in p["train_loader"]:
            opt.zero_grad(); l = p["training_step"](model, b); l.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0); opt.step(); t += l.item()
        print("epoch", epoch, "ctc", t / len(p["train_loader"]))
    model.eval(); err = tot = 0
    with torch.no_grad():
        for x, xl, y, yl in p["val_loader"]:
            best = model(x).argmax(-1)
            for row, n, ref in zip(best, xl, y.split(yl.tolist())):
                hyp = torch.unique_consecutive(row[:n]); hyp = hyp[hyp != 0].tolist()
                err += edit(hyp, ref.tolist()); tot += len(ref)
    print("score:", err / tot)
