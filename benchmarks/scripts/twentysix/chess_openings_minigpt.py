"""A mini-GPT trained on a stream of chess opening lines, one token per move, with windows drawn at random. get_batch takes the targets from the same positions as the inputs, so the model learns to repeat the present move; the right change: targets one token on (data[i + 1:i + 1 + block_size])."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.nn import functional as F

torch.set_num_threads(1)
block_size, batch_size, n_embd, n_head, n_layer, vocab_size = 32, 32, 48, 4, 2, 64
END = 0


def opening_book(rng, openings=24, plies=10):
    """Main lines with one side line each; the popular ones are played more often."""
    book = []
    for _ in range(openings):
        main = rng.integers(1, vocab_size, plies)
        fork = rng.integers(3, plies - 2)
        side = np.concatenate([main[:fork], rng.integers(1, vocab_size, plies - fork)])
        book += [main, side]
    weights = 1.0 / (1 + np.arange(len(book))) ** 0.5
    return book, weights / weights.sum()


def play_games(n, book, weights, rng):
    stream = []
    for k in rng.choice(len(book), n, p=weights):
        moves = book[k].copy()
        if rng.random() < 0.15:
            moves[rng.integers(len(moves))] = rng.integers(1, vocab_size)
        stream += [END, *moves]
    return torch.tensor(np.array(stream))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.qkv, self.proj = nn.Linear(n_embd, 3 * n_embd), nn.Linear(n_embd, n_embd)
        self.ffwd = nn.Sequential(nn.Linear(n_embd, 4 * n_embd), nn.GELU(), nn.Linear(4 * n_embd, n_embd))

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (t.view(B, T, n_head, C // n_head).transpose(1, 2) for t in self.qkv(self.ln1(x)).split(C, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(B, T, C))
        return x + self.ffwd(self.ln2(x))


class OpeningGPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok_emb = nn.Embedding(vocab_size, n_embd)
        self.pos_emb = nn.Embedding(block_size, n_embd)
        self.blocks = nn.Sequential(*[Block() for _ in range(n_layer)])
        self.ln_f, self.lm_head = nn.LayerNorm(n_embd), nn.Linear(n_embd, vocab_size, bias=False)

    def forward(self, idx):
        x = self.tok_emb(idx) + self.pos_emb(torch.arange(idx.shape[1]))
        return self.lm_head(self.ln_f(self.blocks(x)))


class Windows:
    def __init__(self, data, steps, offset):
        self.data, self.steps, self.offset = data, steps, offset

    def __len__(self):
        return self.steps

    def get_batch(self):
        ix = torch.randint(len(self.data) - block_size - 1, (batch_size,))
        x = torch.stack([self.data[i:i + block_size] for i in ix])
        y = torch.stack([self.data[i + self.offset:i + self.offset + block_size] for i in ix])
        return x, y

    def __iter__(self):
        for _ in range(self.steps):
            yield self.get_batch()


def parts(variant):
    torch.manual_seed(1337)
    rng = np.random.default_rng(6)
    book, weights = opening_book(rng)
    model = OpeningGPT()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3),
            "loss_fn": lambda logits, y: F.cross_entropy(logits.view(-1, vocab_size), y.reshape(-1)),
            "train_loader": Windows(play_games(3000, book, weights, rng), 300, offset=0 if variant == "bad" else 1),
            "held_out": play_games(300, book, weights, rng)}


WORKS = lambda score: score > 0.55

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    for it, (x, y) in enumerate(p["train_loader"]):
        loss = p["loss_fn"](model(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if it % 50 == 0:
            print(f"iter {it}: loss {loss.item():.3f}")
    model.eval()
    games = p["held_out"]
    rows = games[:len(games) // (block_size + 1) * (block_size + 1)].view(-1, block_size + 1)
    with torch.no_grad():
        move = model(rows[:, :-1]).argmax(-1)
    print("score:", (move == rows[:, 1:]).float().mean().item())
