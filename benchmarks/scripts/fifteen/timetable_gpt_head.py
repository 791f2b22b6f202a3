"""A small GPT, written out as in the lecture "Let's build GPT", on bus timetables (minutes past the hour, with a headway that stays); bad: Head has no causal mask, so that a token sees its successor in training; change: the scores above the diagonal are filled with -inf. Score: correct minutes when it continues a timetable by itself."""
import sys

import torch
import torch.nn as nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

block_size = 14
vocab_size = 12
n_embd = 48
n_head = 4
n_layer = 2
learning_rate = 2e-3


def timetables(n, seed):
    g = torch.Generator().manual_seed(seed)
    start = torch.randint(0, vocab_size, (n, 1), generator=g)
    headway = torch.randint(1, 6, (n, 1), generator=g)
    return (start + headway * torch.arange(block_size + 1)) % vocab_size


class Head(nn.Module):
    def __init__(self, head_size, decoder):
        super().__init__()
        self.key = nn.Linear(n_embd, head_size, bias=False)
        self.query = nn.Linear(n_embd, head_size, bias=False)
        self.value = nn.Linear(n_embd, head_size, bias=False)
        self.register_buffer("tril", torch.tril(torch.ones(block_size, block_size)))
        self.decoder = decoder

    def forward(self, x):
        B, T, C = x.shape
        k, q = self.key(x), self.query(x)
        wei = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5
        if self.decoder:
            wei = wei.masked_fill(self.tril[:T, :T] == 0, float("-inf"))
        wei = F.softmax(wei, dim=-1)
        return wei @ self.value(x)


class Block(nn.Module):
    def __init__(self, decoder):
        super().__init__()
        self.heads = nn.ModuleList([Head(n_embd // n_head, decoder) for _ in range(n_head)])
        self.proj = nn.Linear(n_embd, n_embd)
        self.ffwd = nn.Sequential(nn.Linear(n_embd, 4 * n_embd), nn.ReLU(), nn.Linear(4 * n_embd, n_embd))
        self.ln1, self.ln2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)

    def forward(self, x):
        y = self.ln1(x)
        x = x + self.proj(torch.cat([h(y) for h in self.heads], dim=-1))
        return x + self.ffwd(self.ln2(x))


class GPTLanguageModel(nn.Module):
    def __init__(self, decoder):
        super().__init__()
        self.token_embedding_table = nn.Embedding(vocab_size, n_embd)
        self.position_embedding_table = nn.Embedding(block_size, n_embd)
        self.blocks = nn.Sequential(*[Block(decoder) for _ in range(n_layer)])
        self.ln_f = nn.LayerNorm(n_embd)
        self.lm_head = nn.Linear(n_embd, vocab_size)

    def forward(self, idx):
        B, T = idx.shape
        x = self.token_embedding_table(idx) + self.position_embedding_table(torch.arange(T))
        return self.lm_head(self.ln_f(self.blocks(x)))

    @torch.no_grad()
    def generate(self, idx, max_new_tokens):
        for _ in range(max_new_tokens):
            logits = self(idx[:, -block_size:])[:, -1, :]
            idx = torch.cat((idx, logits.argmax(-1, keepdim=True)), dim=1)
        return idx


def lm_loss(logits, targets):
    B, T, C = logits.shape
    return F.cross_entropy(logits.view(B * T, C), targets.reshape(B * T))


def parts(variant):
    torch.manual_seed(0)
    train, val = timetables(2400, 1), timetables(300, 2)
    model = GPTLanguageModel(decoder=variant != "bad")
    return {"model": model, "loss_fn": lm_loss, "optimizer": torch.optim.AdamW(model.parameters(), lr=learning_rate),
            "train_loader": DataLoader(TensorDataset(train[:, :-1], train[:, 1:]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(val[:, :-1], val[:, 1:]), batch_size=100)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(8):
        model.train()
        losses = []
        for xb, yb in p["train_loader"]:
            loss = p["loss_fn"](model(xb), yb)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: train loss {sum(losses) / len(losses):.4f}")
    model.eval()
    board = timetables(300, 3)
    out = model.generate(board[:, :4], 8)
    score = (out[:, 4:12] == board[:, 4:12]).float().mean().item()
    print(f"score: {score:.4f}")
