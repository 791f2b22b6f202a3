"""Transformer encoder-decoder that writes a word backwards, judged by greedy decoding; mistake: the causal mask is a float triangle of ones, which adds 1 to the scores of the future and hides nothing; change: it is made boolean."""
import argparse
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

PAD, BOS, EOS, FIRST, LETTERS, LONGEST = 0, 1, 2, 3, 16, 8
WORKS = lambda exact: exact > 0.7


def words(n, seed):
    g = torch.Generator().manual_seed(seed)
    src = torch.full((n, LONGEST), PAD)
    tgt = torch.full((n, LONGEST + 2), PAD)
    for i in range(n):
        k = int(torch.randint(3, LONGEST + 1, (1,), generator=g))
        w = torch.randint(FIRST, FIRST + LETTERS, (k,), generator=g)
        src[i, :k] = w
        tgt[i, 0], tgt[i, 1:k + 1], tgt[i, k + 1] = BOS, w.flip(0), EOS
    return TensorDataset(src, tgt)


def subsequent_mask(size, variant):
    mask = torch.triu(torch.ones(size, size), diagonal=1)
    return mask if variant == "bad" else mask.bool()


class Reverser(nn.Module):
    def __init__(self, variant, d=64):
        super().__init__()
        self.variant = variant
        n_tokens = FIRST + LETTERS
        self.src_emb, self.tgt_emb = nn.Embedding(n_tokens, d), nn.Embedding(n_tokens, d)
        self.src_pos, self.tgt_pos = nn.Parameter(torch.randn(LONGEST, d) * 0.3), nn.Parameter(torch.randn(LONGEST + 2, d) * 0.3)
        self.core = nn.Transformer(d, 4, 2, 2, 128, dropout=0.0, batch_first=True)
        self.out = nn.Linear(d, n_tokens)

    def encode(self, src):
        pad = src == PAD
        return self.core.encoder(self.src_emb(src) + self.src_pos[:src.size(1)], src_key_padding_mask=pad), pad

    def decode(self, tgt, memory, pad):
        T = tgt.size(1)
        h = self.core.decoder(self.tgt_emb(tgt) + self.tgt_pos[:T], memory,
                              tgt_mask=subsequent_mask(T, self.variant), memory_key_padding_mask=pad)
        return self.out(h)

    def forward(self, src, tgt):
        return self.decode(tgt, *self.encode(src))


def training_step(model, batch):
    src, tgt = batch
    logits = model(src, tgt[:, :-1])
    return nn.functional.cross_entropy(logits.transpose(1, 2), tgt[:, 1:], ignore_index=PAD)


@torch.no_grad()
def exact_match(model, loader):
    model.eval()
    right = 0
    for src, tgt in loader:
        memory, pad = model.encode(src)
        ys = torch.full((len(src), 1), BOS)
        for _ in range(LONGEST + 1):
            ys = torch.cat([ys, model.decode(ys, memory, pad)[:, -1].argmax(-1, keepdim=True)], 1)
        same = (ys[:, 1:] == tgt[:, 1:]) | (tgt[:, 1:] == PAD)
        right += same.all(1).sum().item()
    return right / len(loader.dataset)


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = Reverser(variant)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.98))
    return {"model": model, "optimizer": optimizer,
            "scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1.0, (s + 1) / 100)),
            "train_loader": DataLoader(words(6000, 1), batch_size=64, shuffle=True),
            "val_loader": DataLoader(words(300, 2), batch_size=300),
            "training_step": training_step}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", nargs="?", default="fixed", choices=["bad", "fixed"])
    parser.add_argument("--epochs", type=int, default=12)
    args = parser.parse_args()
    torch.set_num_threads(1)
    p = parts(args.variant)
    model = p["model"]
    for epoch in range(args.epochs):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            loss = training_step(model, batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            p["scheduler"].step()
            total += loss.item()
        print(f"epoch {epoch + 1} loss {total / len(p['train_loader']):.4f} exact {exact_match(model, p['val_loader']):.3f}", flush=True)
    print(f"score: {exact_match(model, p['val_loader']):.4f}")
