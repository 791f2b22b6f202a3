"""Character GPT on the short reports of a lawn bowls club. The dataset gives the same window as input and as target, so the model learns to copy the character it has just read; the right change: the target window starts one character later (ids[i + 1 : i + 1 + block])."""
import random
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
NAMES = ["maud", "edgar", "winifred", "horace", "doris", "clement"]
COLOURS = ["red", "black", "maroon", "blue"]
PLACES = ["short of the jack", "past the jack", "in the ditch", "beside the mat"]


def write_reports(n, rng):
    lines = []
    for _ in range(n):
        if rng.random() < 0.6:
            lines.append(f"{rng.choice(NAMES)} laid the {rng.choice(COLOURS)} bowl {rng.choice(PLACES)}.")
        else:
            a, b = rng.sample(NAMES, 2)
            lines.append(f"{a} beat {b} by {rng.randint(2, 9)} shots.")
    return "\n".join(lines)


class CharWindows(Dataset):
    def __init__(self, text, stoi, block, stride, shift):
        self.ids = torch.tensor([stoi[ch] for ch in text])
        self.block, self.stride, self.shift = block, stride, shift

    def __len__(self):
        return (len(self.ids) - self.block - 1) // self.stride

    def __getitem__(self, n):
        i = n * self.stride
        x = self.ids[i:i + self.block]
        y = self.ids[i + self.shift:i + self.shift + self.block]
        return x, y


class CharGPT(nn.Module):
    def __init__(self, vocab, block, d=64):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, d), nn.Parameter(torch.randn(block, d) * 0.02)
        layer = nn.TransformerEncoderLayer(d, 4, 2 * d, dropout=0.05, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.out = nn.LayerNorm(d), nn.Linear(d, vocab)

    def forward(self, idx):
        T = idx.size(1)
        mask = nn.Transformer.generate_square_subsequent_mask(T)
        h = self.body(self.tok(idx) + self.pos[:T], mask=mask, is_causal=True)
        return self.out(self.norm(h))


def training_step(model, batch):
    x, y = batch
    logits = model(x)
    return nn.functional.cross_entropy(logits.view(-1, logits.size(-1)), y.reshape(-1))


def parts(variant):
    rng = random.Random(8)
    torch.manual_seed(8)
    text = write_reports(700, rng)
    stoi = {ch: i for i, ch in enumerate(sorted(set(text)))}
    block = 40
    data = CharWindows(text, stoi, block, stride=17, shift=0 if variant == "bad" else 1)
    model = CharGPT(len(stoi), block)
    held = torch.tensor([stoi[ch] for ch in write_reports(120, rng)])
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "training_step": training_step, "held_out": held, "block": block,
            "train_loader": DataLoader(data, batch_size=32, shuffle=True)}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(3):
        model.train()
        running = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            running += loss.item()
        print(f"epoch {epoch}: {running / len(p['train_loader']):.3f}")
    model.eval()
    ids, B = p["held_out"], p["block"]
    starts = range(0, len(ids) - B - 1, B)
    with torch.no_grad():
        guess = model(torch.stack([ids[i:i + B] for i in starts])).argmax(-1)
    upcoming = torch.stack([ids[i + 1:i + B + 1] for i in starts])
    print("score:", (guess == upcoming).float().mean().item())
