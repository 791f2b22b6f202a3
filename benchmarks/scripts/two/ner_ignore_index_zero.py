"""BiLSTM named-entity tagger: ignore_index=0 is meant for the padding, but tag 0 is also "O", so "O" is never trained and never predicted; change: pad the tags with -100 and ignore that."""
import sys, random, torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

TAGS = {"O": 0, "PER": 1, "LOC": 2, "ORG": 3}
TRIGGER = {1: "PER", 2: "LOC", 3: "ORG"}           # word ids: 0 pad, 1 "Mr", 2 "in", 3 "company", 10..299 any

def sentence(r):
    w, t = [], []
    while len(w) < r.randint(8, 18):
        if r.random() < 0.16:
            k = r.choice((1, 2, 3)); w += [k, r.randint(10, 299)]; t += [0, TAGS[TRIGGER[k]]]
        else:
            w.append(r.randint(10, 299)); t.append(0)
    return torch.tensor(w), torch.tensor(t)

def collate_with(tag_pad):
    def collate(b):
        return (pad_sequence([w for w, _ in b], batch_first=True, padding_value=0),
                pad_sequence([t for _, t in b], batch_first=True, padding_value=tag_pad))
    return collate

class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = nn.Embedding(300, 32, padding_idx=0)
        self.l = nn.LSTM(32, 32, bidirectional=True, batch_first=True)
        self.o = nn.Linear(64, len(TAGS))
    def forward(self, w):
        return self.o(self.l(self.e(w))[0]).permute(0, 2, 1)      # (B, tags, T)

def parts(variant):
    torch.manual_seed(3)
    r = random.Random(3)
    train, val = [sentence(r) for _ in range(1500)], [sentence(r) for _ in range(300)]
    pad = -100 if variant == "fixed" else 0
    m = Tagger()
    return dict(model=m, optimizer=torch.optim.Adam(m.parameters(), lr=3e-3), loss_fn=nn.CrossEntropyLoss(ignore_index=pad),
                train_loader=DataLoader(train, 32, shuffle=True, collate_fn=collate_with(pad)),
                val_loader=DataLoader(val, 50, collate_fn=collate_with(pad)))

WORKS = lambda s: s > 0.9       # accuracy over the real tokens ("O" everywhere: about 0.85)

if __name__ == "__main__":
    p = parts((sys.argv + ["bad"])[1]); m = p["model"]
    for e in range(6):
        tot = 0
        for w, t in p["train_loader"]:
            p["optimizer"].zero_grad(); loss = p["loss_fn"](m(w), t); loss.backward(); p["optimizer"].step(); tot += loss.item()
        print(f"[{e}] {tot / len(p['train_loader']):.4f}")
    m.eval(); good = n = 0
    with torch.no_grad():
        for w, t in p["val_loader"]:
            real = w != 0
            good += (m(w).argmax(1)[real] == t[real]).sum().item(); n += real.sum().item()
    print("score:", good / n)
