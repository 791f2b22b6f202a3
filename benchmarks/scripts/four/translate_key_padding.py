"""Encoder-decoder translation; the key padding masks are True at the words and False at the padding, so attention looks at the padding alone; change: True where the padding is."""
import math
import sys
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

PAD, SOS, EOS, FIRST = 0, 1, 2, 3
WORDS, LEN = 24, 12


def corpus(n, seed):
    """Each source word has its own word in the other language; the order stays."""
    dictionary = torch.randperm(WORDS, generator=torch.Generator().manual_seed(77))
    g = torch.Generator().manual_seed(seed)
    src = torch.full((n, LEN), PAD)
    tgt_in, tgt_out = torch.full((n, LEN), PAD), torch.full((n, LEN), PAD)
    for i in range(n):
        k = int(torch.randint(4, 10, (1,), generator=g))
        w = torch.randint(0, WORDS, (k,), generator=g)
        t = FIRST + dictionary[w]
        src[i, :k] = FIRST + w
        tgt_in[i, 0] = SOS
        tgt_in[i, 1:k + 1] = t
        tgt_out[i, :k] = t
        tgt_out[i, k] = EOS
    return TensorDataset(src, tgt_in, tgt_out)


def sinusoids(length, d):
    pos = torch.arange(length)[:, None]
    f = torch.exp(torch.arange(0, d, 2) * (-math.log(10000.0) / d))
    pe = torch.zeros(length, d)
    pe[:, 0::2], pe[:, 1::2] = torch.sin(pos * f), torch.cos(pos * f)
    return pe


class Translator(nn.Module):
    def __init__(self, padding_mask, d=64, heads=4, layers=2):
        super().__init__()
        self.padding_mask = padding_mask
        self.d = d
        self.src_emb, self.tgt_emb = nn.Embedding(WORDS + FIRST, d), nn.Embedding(WORDS + FIRST, d)
        self.register_buffer("pe", sinusoids(LEN, d))
        self.core = nn.Transformer(d, heads, layers, layers, 128, dropout=0.0, batch_first=True)
        self.out = nn.Linear(d, WORDS + FIRST)

    def forward(self, src, tgt):
        s = self.src_emb(src) * math.sqrt(self.d) / 4 + self.pe
        t = self.tgt_emb(tgt) * math.sqrt(self.d) / 4 + self.pe
        ahead = torch.triu(torch.ones(LEN, LEN, dtype=torch.bool), 1)
        m = self.padding_mask(src)
        h = self.core(s, t, tgt_mask=ahead, src_key_padding_mask=m, memory_key_padding_mask=m)
        return self.out(h)


def token_loss(logits, target):
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD)


def token_accuracy(logits, target):
    keep = target != PAD
    return (logits.argmax(-1)[keep] == target[keep]).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    if variant == "bad":
        mask = lambda ids: ids != PAD
    else:
        mask = lambda ids: ids == PAD
    net = Translator(mask)
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.9, 0.98), eps=1e-9), "loss_fn": token_loss,
            "train_loader": DataLoader(corpus(4000, 1), batch_size=64, shuffle=True),
            "val_loader": DataLoader(corpus(500, 2), batch_size=125), "metric": token_accuracy}


WORKS = lambda score: score > 0.7


def run_epoch(p, loader, train):
    net = p["model"].train(train)
    losses, accs = [], []
    with torch.set_grad_enabled(train):
        for src, tin, tout in loader:
            out = net(src, tin)
            loss = p["loss_fn"](out, tout)
            if train:
                p["optimizer"].zero_grad()
                loss.backward()
                p["optimizer"].step()
            losses.append(loss.item())
            accs.append(p["metric"](out, tout))
    return sum(losses) / len(losses), sum(accs) / len(accs)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(15):
        tl, ta = run_epoch(p, p["train_loader"], True)
        vl, va = run_epoch(p, p["val_loader"], False)
        print(f"{epoch:2d} | train {tl:.3f} acc {ta:.3f} | val {vl:.3f} acc {va:.3f}")
    print(f"score: {va:.4f}")
