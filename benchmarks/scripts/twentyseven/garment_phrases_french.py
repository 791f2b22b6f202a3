"""A transformer translates shop phrases on garments from English to French ("two red shirts and a green coat"). The decoder is fed the whole French phrase and must predict the same phrase, not the one shifted by a word, so it learns to copy its input; the right change: decoder input tgt[:, :-1], targets tgt[:, 1:]."""
import random
import sys

import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

torch.set_num_threads(1)
PAD, BOS, EOS = 0, 1, 2
NOUNS = {"shirt": ("chemise", "f"), "coat": ("manteau", "m"), "skirt": ("jupe", "f"), "jumper": ("pull", "m"),
         "dress": ("robe", "f"), "scarf": ("foulard", "m"), "jacket": ("veste", "f"), "hat": ("chapeau", "m"),
         "belt": ("ceinture", "f"), "glove": ("gant", "m")}
COLOURS = {"green": ("vert", "verte"), "black": ("noir", "noire"), "blue": ("bleu", "bleue"), "grey": ("gris", "grise"),
           "white": ("blanc", "blanche"), "purple": ("violet", "violette"), "brown": ("brun", "brune")}
NUMBERS = {"two": "deux", "three": "trois", "four": "quatre", "six": "six"}


def one_item(rng):
    noun, colour = rng.choice(list(NOUNS)), rng.choice(list(COLOURS))
    fr, gender = NOUNS[noun]
    adj = COLOURS[colour][gender == "f"]
    if rng.random() < 0.4:
        return ["a", colour, noun], [("un", "une")[gender == "f"], fr, adj]
    n = rng.choice(list(NUMBERS))
    plural = lambda w: w if w.endswith("s") else w + "x" if w.endswith("eau") else w + "s"
    return [n, colour, noun + "s"], [NUMBERS[n], plural(fr), plural(adj)]


def phrase(rng):
    en, fr = one_item(rng)
    if rng.random() < 0.6:
        en2, fr2 = one_item(rng)
        en, fr = en + ["and"] + en2, fr + ["et"] + fr2
    return en, fr


class Vocab(dict):
    def __init__(self, sentences):
        words = sorted({w for s in sentences for w in s})
        super().__init__({w: i + 3 for i, w in enumerate(words)})

    def encode(self, words):
        return torch.tensor([BOS] + [self[w] for w in words] + [EOS])


class Translator(nn.Module):
    def __init__(self, n_src, n_tgt, d=48):
        super().__init__()
        self.src_emb, self.tgt_emb = nn.Embedding(n_src, d, padding_idx=PAD), nn.Embedding(n_tgt, d, padding_idx=PAD)
        self.pos = nn.Embedding(16, d)
        self.transformer = nn.Transformer(d, 4, 1, 1, 128, dropout=0.05, batch_first=True)
        self.generator = nn.Linear(d, n_tgt)

    def add_pos(self, x):
        return x + self.pos(torch.arange(x.size(1)))

    def forward(self, src, tgt):
        causal = torch.triu(torch.ones(tgt.size(1), tgt.size(1), dtype=torch.bool), 1)
        h = self.transformer(self.add_pos(self.src_emb(src)), self.add_pos(self.tgt_emb(tgt)), tgt_mask=causal,
                             src_key_padding_mask=src == PAD, tgt_key_padding_mask=tgt == PAD,
                             memory_key_padding_mask=src == PAD)
        return self.generator(h)

    @torch.no_grad()
    def translate(self, src, max_len=9):
        ys = torch.full((len(src), 1), BOS)
        for _ in range(max_len):
            ys = torch.cat([ys, self(src, ys)[:, -1].argmax(-1, keepdim=True)], 1)
        return ys


def collate(pairs):
    return tuple(pad_sequence(side, batch_first=True, padding_value=PAD) for side in zip(*pairs))


criterion = nn.CrossEntropyLoss(ignore_index=PAD)


def step_whole(model, batch):
    src, tgt = batch
    logits = model(src, tgt)
    return criterion(logits.flatten(0, 1), tgt.flatten())


def step_next(model, batch):
    src, tgt = batch
    logits = model(src, tgt[:, :-1])
    return criterion(logits.flatten(0, 1), tgt[:, 1:].flatten())


def parts(variant):
    torch.manual_seed(2)
    rng = random.Random(2)
    corpus = [phrase(rng) for _ in range(3300)]
    en, fr = Vocab([c[0] for c in corpus]), Vocab([c[1] for c in corpus])
    data = [(en.encode(a), fr.encode(b)) for a, b in corpus]
    model = Translator(len(en) + 3, len(fr) + 3)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.9, 0.98)),
            "training_step": step_whole if variant == "bad" else step_next,
            "train_loader": DataLoader(data[:3000], batch_size=64, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(data[3000:], batch_size=100, collate_fn=collate)}


def exact_match(model, loader):
    right = total = 0
    for src, tgt in loader:
        out = model.translate(src)
        for y, t in zip(out.tolist(), tgt.tolist()):
            t = [w for w in t if w != PAD]
            right += y[:len(t)] == t
            total += 1
    return right / total


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(6):
        p["model"].train()
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            p["optimizer"].step()
        print(f"epoch {epoch}: loss {loss.item():.4f}")
    p["model"].eval()
    print("score:", exact_match(p["model"], p["val_loader"]))
