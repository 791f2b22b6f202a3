"""Transformer that predicts the next note of melodies; bad: the encoder is called without a causal mask, so it reads the next note off the input; change: forward passes the mask. Scored by the next note from prefixes alone."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

NOTES, BARS = 14, 32


def melodies(n, seed):
    """The next note follows from the last two, nine times of ten."""
    rule = torch.randint(0, NOTES, (NOTES, NOTES), generator=torch.Generator().manual_seed(5))
    g = torch.Generator().manual_seed(seed)
    m = torch.randint(0, NOTES, (n, BARS + 1), generator=g)
    for t in range(2, BARS + 1):
        keep = torch.rand(n, generator=g) < 0.9
        m[:, t] = torch.where(keep, rule[m[:, t - 2], m[:, t - 1]], m[:, t])
    return m[:, :-1], m[:, 1:]


class MelodyModel(nn.Module):
    def __init__(self, dim=64, heads=4, depth=2, masked=True):
        super().__init__()
        self.note = nn.Embedding(NOTES, dim)
        self.place = nn.Embedding(BARS, dim)
        block = nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.0, activation="gelu", batch_first=True)
        self.blocks = nn.TransformerEncoder(block, depth)
        self.readout = nn.Linear(dim, NOTES)
        self.masked = masked

    def forward(self, notes):
        n = notes.size(1)
        h = self.note(notes) + self.place(torch.arange(n, device=notes.device))
        mask = nn.Transformer.generate_square_subsequent_mask(n) if self.masked else None
        return self.readout(self.blocks(h, mask=mask))


def next_note_loss(logits, notes):
    return F.cross_entropy(logits.reshape(-1, NOTES), notes.reshape(-1))


def parts(variant):
    torch.manual_seed(0)
    model = MelodyModel(masked=variant != "bad")
    return {"model": model, "loss_fn": next_note_loss,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.98)),
            "train_loader": DataLoader(TensorDataset(*melodies(1500, 1)), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*melodies(200, 2)), batch_size=100)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        model.train()
        losses = []
        for notes, following in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(notes), following)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: train {sum(losses) / len(losses):.4f}")
    model.eval()
    hits = count = 0
    with torch.no_grad():
        for notes, following in p["val_loader"]:
            for t in range(4, BARS, 3):
                guess = model(notes[:, :t])[:, -1].argmax(-1)
                hits += (guess == following[:, t - 1]).sum().item()
                count += len(guess)
    score = hits / count
    print(f"score: {score:.4f}")
