"""Tagging the parts of postal addresses (street, number, postcode, town, other) with a two-way GRU on packed sequences, padding labels -100, warm-up of the rate in the first batches, gradient clipping; sound; change: none."""
import random
import sys
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader

TAGS = ["O", "STREET", "NUMBER", "POSTCODE", "TOWN"]
STREETS = "high mill church station king park london green north victoria abbey chapel bridge castle".split()
KIND = "street road lane avenue close way".split()
TOWNS = "abbey north castle bath ely ripon wells truro green leeds york derby park exeter".split()
OTHER = "flat unit the house floor near c/o mr ms attn p.o. box".split()
NUMS = [str(i) for i in range(1, 60)]
CODES = [f"{a}{b}" for a in ("ab", "cd", "ef", "gh") for b in range(1, 15)]
VOCAB = {w: i + 1 for i, w in enumerate(dict.fromkeys(STREETS + KIND + TOWNS + OTHER + NUMS + CODES))}


def address(rnd):
    street = [(w, 1) for w in rnd.sample(STREETS, rnd.choice([1, 1, 2]))] + [(rnd.choice(KIND), 1)]
    number = [(rnd.choice(NUMS), 2)]
    rest = [[(rnd.choice(CODES), 3)], [(rnd.choice(TOWNS), 4)]]
    if rnd.random() < 0.5:
        rest.reverse()
    out = []
    if rnd.random() < 0.4:
        out += [(w, 0) for w in rnd.sample(OTHER, rnd.randint(1, 3))]
        if rnd.random() < 0.5:
            out += [(rnd.choice(NUMS), 0)]
    out += number + street if rnd.random() < 0.7 else street + number
    for part in rest:
        if rnd.random() < 0.9:
            out += part
    return torch.tensor([VOCAB[w] for w, _ in out]), torch.tensor([t for _, t in out])


def collate(rows):
    rows = sorted(rows, key=lambda r: -len(r[0]))
    words = pad_sequence([r[0] for r in rows], batch_first=True)
    tags = pad_sequence([r[1] for r in rows], batch_first=True, padding_value=-100)
    return words, tags


class Tagger(nn.Module):
    def __init__(self, n_words, n_tags, dim=32, hidden=32):
        super().__init__()
        self.emb = nn.Embedding(n_words, dim, padding_idx=0)
        self.gru = nn.GRU(dim, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, n_tags)

    def forward(self, words):
        lengths = (words != 0).sum(1)
        packed = pack_padded_sequence(self.emb(words), lengths, batch_first=True, enforce_sorted=False)
        h, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=words.shape[1])
        return self.out(h)


def parts(variant):
    torch.manual_seed(0)
    rnd = random.Random(9)
    data = [address(rnd) for _ in range(2300)]
    model = Tagger(len(VOCAB) + 1, len(TAGS))
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    warm = torch.optim.lr_scheduler.LinearLR(opt, start_factor=0.05, total_iters=60)
    crit = nn.CrossEntropyLoss(ignore_index=-100)

    def step(model, batch, optimizer):
        words, tags = batch
        optimizer.zero_grad()
        loss = crit(model(words).transpose(1, 2), tags)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        warm.step()
        return loss.detach()

    return dict(model=model, optimizer=opt, step=step,
                train_loader=DataLoader(data[:2000], batch_size=32, shuffle=True, collate_fn=collate),
                val_loader=DataLoader(data[2000:], batch_size=100, collate_fn=collate))


WORKS = lambda score: score > 0.92  # tokens right

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(8):
        p["model"].train()
        ls = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        print(f"epoch {epoch + 1} loss {sum(ls) / len(ls):.4f}")
    p["model"].eval()
    ok = n = 0
    with torch.no_grad():
        for words, tags in p["val_loader"]:
            m = tags != -100
            ok += (p["model"](words).argmax(-1) == tags)[m].sum().item()
            n += m.sum().item()
    score = ok / n
    print(f"score: {score:.4f}")
