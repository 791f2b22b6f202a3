"""Sound. Looks odd: several documents lie in one row, position numbers start again in the middle of it, the attention mask is block-diagonal as well as causal, and part of the targets is -100. It is sequence packing: a card (ingredient numbers, then the same in order) must not see its neighbour, and its last token has no next one of its own. Ingredients cannot be foreseen, so the loss stays well above zero; the metric counts the sorted half alone."""
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
ITEMS, ROW, MAX_CARD = 12, 48, 14
START, SORT, END = ITEMS, ITEMS + 1, ITEMS + 2


def card(rng):
    chosen = rng.sample(range(ITEMS), rng.randint(3, 5))
    return [START, *chosen, SORT, *sorted(chosen), END]


def pack(cards):
    """Rows of (token, position in the card, number of the card) and the targets; the rest of a row is card -1."""
    rows, targets, row, target = [], [], [], []

    def close():
        fill = ROW - len(row)
        rows.append(row + [(END, 0, -1)] * fill)
        targets.append(target + [-100] * fill)

    for number, c in enumerate(cards):
        if len(row) + len(c) > ROW:
            close()
            row, target = [], []
        row += [(token, place, number) for place, token in enumerate(c)]
        target += c[1:] + [-100]
    close()
    return TensorDataset(torch.tensor(rows).transpose(1, 2), torch.tensor(targets))


class CardLM(nn.Module):
    def __init__(self, width=48, heads=4, depth=2):
        super().__init__()
        self.heads = heads
        self.tokens, self.places = nn.Embedding(ITEMS + 3, width), nn.Embedding(MAX_CARD, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * depth))
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(depth))
        self.proj = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.mlp = nn.ModuleList(nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)) for _ in range(depth))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, ITEMS + 3))

    def forward(self, packed):
        token, place, number = packed.unbind(1)
        b, t = token.shape
        same = number[:, :, None] == number[:, None, :]
        mask = (same & torch.ones(t, t, dtype=torch.bool).tril())[:, None]
        x = self.tokens(token) + self.places(place)
        for i in range(len(self.qkv)):
            q, k, v = self.qkv[i](self.norms[2 * i](x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            x = x + self.proj[i](a.transpose(1, 2).reshape(b, t, -1))
            x = x + self.mlp[i](self.norms[2 * i + 1](x))
        return self.out(x).transpose(1, 2)


def sorted_accuracy(logits, targets, inputs):
    token, _, number = inputs.unbind(1)
    after = torch.zeros_like(token)
    for t in range(token.shape[1]):
        carried = after[:, t - 1] * (number[:, t] == number[:, t - 1]) if t else 0
        after[:, t] = (token[:, t] == SORT) | (carried > 0)
    where = (after > 0) & (targets != -100)
    return (logits.argmax(1) == targets)[where].float().mean()


def parts(variant):
    torch.manual_seed(0)
    rng = random.Random(6)
    model = CardLM()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01),
            "loss_fn": nn.CrossEntropyLoss(ignore_index=-100),
            "train_loader": DataLoader(pack([card(rng) for _ in range(3600)]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(pack([card(rng) for _ in range(400)]), batch_size=200)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(8):
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(p["model"].parameters(), 1.0)
            p["optimizer"].step()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = sorted_accuracy(p["model"](x), y, x).item()
        print(f"epoch {epoch}: loss {loss.item():.3f}, sorted half right {score:.3f}")
    print("score:", score)
