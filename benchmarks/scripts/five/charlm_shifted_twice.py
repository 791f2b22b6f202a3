"""Small GPT on characters of torch.nn's own docstrings; mistake: the dataset already shifts the labels by one and the model shifts them once more, so it learns the character after the next; change: labels are the inputs, the model shifts."""
import math
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

BLOCK = 48
WORKS = lambda acc: acc > 0.4


def corpus():
    text = "\n".join(getattr(nn, name).__doc__ or "" for name in sorted(dir(nn)) if name[0].isupper())
    text = " ".join(text.lower().split()).encode("ascii", "ignore").decode()
    chars = sorted(set(text))
    return torch.tensor([chars.index(c) for c in text]), len(chars)


class Chunks(Dataset):
    def __init__(self, ids, variant, stride=11):
        self.ids, self.variant = ids, variant
        self.starts = range(0, len(ids) - BLOCK - 1, stride)

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, i):
        s = self.starts[i]
        input_ids = self.ids[s:s + BLOCK]
        labels = self.ids[s + 1:s + BLOCK + 1] if self.variant == "bad" else input_ids.clone()
        return {"input_ids": input_ids, "labels": labels}


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x):
        B, T, D = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(a.transpose(1, 2).reshape(B, T, D))
        return x + self.mlp(self.ln2(x))


class GPT(nn.Module):
    def __init__(self, vocab, d=96, layers=2, heads=4):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, d), nn.Embedding(BLOCK, d)
        nn.init.normal_(self.tok.weight, std=0.02)
        nn.init.normal_(self.pos.weight, std=0.02)
        self.blocks = nn.Sequential(*[Block(d, heads) for _ in range(layers)])
        self.ln = nn.LayerNorm(d)
        self.head = nn.Linear(d, vocab, bias=False)

    def forward(self, input_ids, labels=None):
        h = self.tok(input_ids) + self.pos(torch.arange(input_ids.size(1)))
        logits = self.head(self.ln(self.blocks(h)))
        loss = None
        if labels is not None:
            # predict token t+1 from tokens up to t
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return logits, loss


def parts(variant="fixed"):
    torch.manual_seed(1337)
    ids, vocab = corpus()
    cut = int(0.9 * len(ids))
    model = GPT(vocab)
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.99), weight_decay=0.01)
    sched = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min(1, (s + 1) / 50) * 0.5 * (1 + math.cos(math.pi * min(1, s / 500))) + 0.01)
    return {"model": model, "optimizer": opt, "scheduler": sched,
            "train_loader": DataLoader(Chunks(ids[:cut], variant), batch_size=48, shuffle=True, drop_last=True),
            "training_step": lambda model, batch: model(batch["input_ids"], batch["labels"])[1],
            "heldout": ids[cut:]}


@torch.no_grad()
def next_char_accuracy(model, ids):
    model.eval()
    windows = ids[:len(ids) // BLOCK * BLOCK].view(-1, BLOCK)
    guess = model(windows)[0].argmax(-1)
    model.train()
    return (guess[:, 7:-1] == windows[:, 8:]).float().mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, sched, step = p["model"], p["optimizer"], p["scheduler"], 0
    while step < 500:
        for batch in p["train_loader"]:
            _, loss = model(**batch)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            sched.step()
            if step % 100 == 0:
                print(f"step {step:4d} loss {loss.item():.3f} heldout next-char acc {next_char_accuracy(model, p['heldout']):.3f}")
            step += 1
            if step == 500:
                break
    print(f"score: {next_char_accuracy(model, p['heldout']):.4f}")
