"""Translation of short sentences by nn.Transformer: the decoder's input is the target itself and not the target shifted right, so it copies, and fails when it has to write alone; change: shifted."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader

BOS, EOS, VOCAB, LEN = 1, 2, 24, 6


class Pairs(Dataset):
    """The translation is word for word by a dictionary, in reversed order."""

    def __init__(self, n, seed, shift=1):
        g = torch.Generator().manual_seed(seed)
        table = torch.randperm(VOCAB - 3, generator=torch.Generator().manual_seed(5)) + 3
        self.src = torch.randint(3, VOCAB, (n, LEN), generator=g)
        words = table[self.src - 3].flip(1)
        col = torch.ones(n, 1, dtype=torch.long)
        full = torch.cat([col * BOS, words, col * EOS], 1)
        self.labels = full[:, 1:]
        self.dec_in = full[:, 1 - shift: full.size(1) - shift]

    def __len__(self):
        return len(self.src)

    def __getitem__(self, i):
        return self.src[i], self.dec_in[i], self.labels[i]


class Seq2Seq(nn.Module):
    def __init__(self, d=48):
        super().__init__()
        self.src_emb, self.tgt_emb = nn.Embedding(VOCAB, d), nn.Embedding(VOCAB, d)
        self.pos = nn.Parameter(torch.randn(16, d) * 0.3)
        self.core = nn.Transformer(d, 4, 1, 1, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.generator = nn.Linear(d, VOCAB)

    def forward(self, src, tgt):
        mask = nn.Transformer.generate_square_subsequent_mask(tgt.size(1))
        s = self.src_emb(src) + self.pos[:src.size(1)]
        t = self.tgt_emb(tgt) + self.pos[:tgt.size(1)]
        return self.generator(self.core(s, t, tgt_mask=mask))


def token_loss(logits, labels):
    return nn.functional.cross_entropy(logits.transpose(1, 2), labels)


def parts(variant):
    torch.manual_seed(0)
    shift = 0 if variant == "bad" else 1
    model = Seq2Seq()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.9, 0.98)),
            "loss_fn": token_loss,
            "train_loader": DataLoader(Pairs(6000, 1, shift), batch_size=64, shuffle=True),
            "val_loader": DataLoader(Pairs(300, 2, shift), batch_size=100)}


WORKS = lambda score: score > 0.7


@torch.no_grad()
def translate(model, src):
    model.eval()
    out = torch.full((len(src), 1), BOS)
    for _ in range(LEN + 1):
        nxt = model(src, out)[:, -1].argmax(-1, keepdim=True)
        out = torch.cat([out, nxt], 1)
    return out[:, 1:]


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(15):
        model.train()
        loss_sum = 0.0
        for src, dec_in, labels in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(src, dec_in), labels)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item()
        print(f"epoch {epoch + 1}: loss {loss_sum / len(p['train_loader']):.4f}")
    right = [(translate(model, s) == y).float().mean().item() for s, _, y in p["val_loader"]]
    print(f"score: {sum(right) / len(right):.4f}")
