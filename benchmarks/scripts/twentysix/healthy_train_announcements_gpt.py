"""Sound: a character-level transformer learns the announcements of a small railway station. Nothing odd: causal mask, targets are the next character, learned positions, AdamW with clipping; the score is the held-out loss per character (lower is better), bounded below by the random choice of train and time."""
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
CONTEXT = 48
ROUTES = {"harwick": "dunby and selmer", "oxmoor": "pell, tarn and lowdale", "selmer": "dunby", "kingsfell": "tarn, hythe and brigg"}


def announcements(n, rng):
    lines = []
    for _ in range(n):
        town = rng.choice(list(ROUTES))
        minute = rng.choice(["05", "20", "40"])
        late = rng.random() < 0.25
        line = f"the {rng.randint(6, 21)}:{minute} to {town} calling at {ROUTES[town]}"
        lines.append(line + (" is late. we are sorry.\n" if late else f" leaves from platform {len(town) % 4 + 1}.\n"))
    return "".join(lines)


class AnnouncementGPT(nn.Module):
    def __init__(self, vocab, width=64):
        super().__init__()
        self.chars, self.places = nn.Embedding(vocab, width), nn.Embedding(CONTEXT, width)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True, activation="gelu")
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocab)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(CONTEXT))

    def forward(self, x):
        n = x.shape[1]
        h = self.chars(x) + self.places(torch.arange(n))
        return self.head(self.norm(self.blocks(h, mask=self.mask[:n, :n], is_causal=True)))


def chunks(text, table):
    ids = torch.tensor([table[c] for c in text])
    rows = (len(ids) - 1) // CONTEXT
    return TensorDataset(ids[:rows * CONTEXT].view(rows, CONTEXT), ids[1:rows * CONTEXT + 1].view(rows, CONTEXT))


def next_char_loss(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def parts(variant):
    torch.manual_seed(0)
    rng = random.Random(9)
    train_text, val_text = announcements(700, rng), announcements(120, rng)
    table = {c: i for i, c in enumerate(sorted(set(train_text)))}
    model = AnnouncementGPT(len(table))
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01),
            "loss_fn": next_char_loss, "metric": next_char_loss,
            "train_loader": DataLoader(chunks(train_text, table), batch_size=24, shuffle=True),
            "val_loader": DataLoader(chunks(val_text, table), batch_size=64)}


WORKS = lambda score: score < 0.4

if __name__ == "__main__":
    p = parts("fixed")
    model = p["model"]
    for epoch in range(5):
        model.train()
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            p["optimizer"].step()
        model.eval()
        with torch.no_grad():
            val = [(p["metric"](model(x), y).item(), len(x)) for x, y in p["val_loader"]]
        score = sum(l * n for l, n in val) / sum(n for _, n in val)
        print(f"epoch {epoch}: train {loss.item():.3f}, held out {score:.3f}")
    print("score:", score)
