"""Small captioner (CNN encoder, transformer decoder) of digit images; bad: the decoder's input tokens are a buffer of zeros that is never filled with the caption; change: feed the caption shifted by one."""
import random
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

NUMBERS = "zero one two three four five six seven eight nine".split()
TEMPLATES = ["a photo of the number {}", "{} is written here", "the digit {} on paper", "here we see a {}", "somebody drew {} by hand"]
WORDS = ["<pad>", "<bos>", "<eos>"] + sorted({w for t in TEMPLATES for w in t.format("").split()} | set(NUMBERS))
IDX = {w: i for i, w in enumerate(WORDS)}
T = 8


def encode(sentence):
    ids = [1] + [IDX[w] for w in sentence.split()] + [2]
    return ids + [0] * (T - len(ids))


class Captioner(nn.Module):
    def __init__(self, d=64):
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, d, 3, padding=1), nn.ReLU())
        self.tok = nn.Embedding(len(WORDS), d)
        self.pos = nn.Embedding(T, d)
        layer = nn.TransformerDecoderLayer(d, 4, 128, dropout=0.0, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, 2)
        self.out = nn.Linear(d, len(WORDS))

    def forward(self, image, tokens):
        memory = self.cnn(image).flatten(2).transpose(1, 2)
        n = tokens.shape[1]
        tgt = self.tok(tokens) + self.pos(torch.arange(n, device=tokens.device))
        mask = torch.triu(torch.ones(n, n, dtype=torch.bool), 1)
        return self.out(self.decoder(tgt, memory, tgt_mask=mask))


def make_step(variant):
    def training_step(model, batch):
        image, caption = batch
        inp = torch.zeros_like(caption[:, :-1])
        if variant != "bad":
            inp[:] = caption[:, :-1]
        logits = model(image, inp)
        return F.cross_entropy(logits.flatten(0, 1), caption[:, 1:].flatten(), ignore_index=0)
    return training_step


def parts(variant):
    torch.manual_seed(0)
    rng = random.Random(0)
    d = load_digits()
    x = torch.tensor(d.images[:, None] / 16.0, dtype=torch.float32)
    caps = torch.tensor([encode(rng.choice(TEMPLATES).format(NUMBERS[k])) for k in d.target])
    order = torch.randperm(len(x))
    tr, va = order[:1500], order[1500:]
    model = Captioner()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "training_step": make_step(variant),
            "train_loader": DataLoader(TensorDataset(x[tr], caps[tr]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[va], caps[va]), batch_size=128)}


@torch.no_grad()
def sample(model, image):
    tokens = torch.ones(len(image), 1, dtype=torch.long)
    for _ in range(T - 1):
        p = model(image, tokens)[:, -1].softmax(-1)
        tokens = torch.cat([tokens, torch.multinomial(p, 1)], 1)
    return tokens


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f}")
    model.eval()
    good = n = 0
    for image, caption in p["val_loader"]:
        said = sample(model, image)
        for s, c in zip(said.tolist(), caption.tolist()):
            words = [WORDS[i] for i in s[1:]]
            text = " ".join(words[:words.index("<eos>")]) if "<eos>" in words else ""
            number = next(WORDS[i] for i in c if WORDS[i] in NUMBERS)
            good += text in [t.format(number) for t in TEMPLATES]
            n += 1
    score = good / n
    print(f"score: {score:.4f}")
