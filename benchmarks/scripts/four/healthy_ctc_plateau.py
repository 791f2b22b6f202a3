"""Healthy: phones from frames with CTC; everything is blank at first and the loss stands for a while, then it falls."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PHONES, FRAMES, MEL, MAXP = 8, 36, 12, 6


def utterances(n, seed):
    """3 to 6 phones, each some frames long, silence between; labels padded with 0, their lengths beside them."""
    shape = 0.9 * torch.randn(PHONES + 1, MEL, generator=torch.Generator().manual_seed(40))
    shape[0] = 0
    g = torch.Generator().manual_seed(seed)
    x, y = torch.zeros(n, FRAMES, MEL), torch.zeros(n, MAXP + 1, dtype=torch.long)
    for i in range(n):
        k = int(torch.randint(3, MAXP + 1, (1,), generator=g))
        ph = torch.randint(1, PHONES + 1, (k,), generator=g)
        t = int(torch.randint(0, 3, (1,), generator=g))
        for q in ph.tolist():
            d = int(torch.randint(2, 5, (1,), generator=g))
            x[i, t:t + d] = shape[q]
            t += d + int(torch.randint(1, 3, (1,), generator=g))
        y[i, :k], y[i, MAXP] = ph, k
    return TensorDataset(x + 0.4 * torch.randn(x.shape, generator=g), y)


class Acoustic(nn.Module):
    def __init__(self, h=64):
        super().__init__()
        self.norm = nn.LayerNorm(MEL)
        self.rnn = nn.GRU(MEL, h, bidirectional=True, batch_first=True)
        self.out = nn.Linear(2 * h, PHONES + 1)

    def forward(self, x):
        return self.out(self.rnn(self.norm(x))[0]).log_softmax(-1)


ctc = nn.CTCLoss(blank=0, zero_infinity=True)


def ctc_loss(logp, y):
    n = torch.full((len(y),), logp.shape[1])
    return ctc(logp.transpose(0, 1), y[:, :MAXP], n, y[:, MAXP])


def parts(variant="fixed"):
    torch.manual_seed(0)
    net = Acoustic()
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=1e-3), "loss_fn": ctc_loss,
            "train_loader": DataLoader(utterances(1600, 1), batch_size=32, shuffle=True),
            "val_loader": DataLoader(utterances(200, 2), batch_size=100)}


WORKS = lambda score: score > 0.6


def collapse(path):
    out, last = [], 0
    for q in path:
        if q != last and q != 0:
            out.append(q)
        last = q
    return out


def whole_right(net, loader):
    net.eval()
    hits = total = 0
    with torch.no_grad():
        for x, y in loader:
            for path, lab in zip(net(x).argmax(-1).tolist(), y.tolist()):
                hits += collapse(path) == lab[:lab[MAXP]]
                total += 1
    return hits / total


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(20):
        net.train()
        s = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            opt.step()
            s += loss.item()
        print(f"epoch {epoch} ctc {s / len(p['train_loader']):.4f} whole utterances right {whole_right(net, p['val_loader']):.3f}")
    print(f"score: {whole_right(net, p['val_loader']):.4f}")
