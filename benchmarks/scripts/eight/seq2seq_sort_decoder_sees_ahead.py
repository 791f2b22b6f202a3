"""A small transformer learns to sort digit strings; the mistake: the decoder gets no causal mask, so under teacher forcing it copies the next token and can't decode alone; change: `fixed` passes tgt_mask."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

VOCAB, BOS, LEN, DIM = 13, 12, 8, 48
WORKS = lambda score: score > 0.8


class Sorter(nn.Module):
    def __init__(self, variant):
        super().__init__()
        self.variant = variant
        self.tok = nn.Embedding(VOCAB, DIM)
        self.pos = nn.Parameter(torch.randn(LEN + 1, DIM) * 0.1)
        self.transformer = nn.Transformer(DIM, nhead=4, num_encoder_layers=1, num_decoder_layers=1,
                                          dim_feedforward=96, dropout=0.0, batch_first=True)
        self.out = nn.Linear(DIM, VOCAB)

    def embed(self, ids):
        return self.tok(ids) + self.pos[: ids.size(1)]

    def forward(self, src, tgt):
        mask = None
        if self.variant == "fixed":
            mask = nn.Transformer.generate_square_subsequent_mask(tgt.size(1))
        h = self.transformer(self.embed(src), self.embed(tgt), tgt_mask=mask)
        return self.out(h)

    @torch.no_grad()
    def greedy(self, src):
        ys = torch.full((len(src), 1), BOS)
        for _ in range(LEN):
            nxt = self(src, ys)[:, -1].argmax(-1, keepdim=True)
            ys = torch.cat([ys, nxt], dim=1)
        return ys[:, 1:]


def make_batches(n, size, gen):
    batches = []
    for _ in range(n):
        src = torch.randint(0, 12, (size, LEN), generator=gen)
        batches.append((src, src.sort(dim=1).values))
    return batches


def parts(variant="fixed"):
    torch.manual_seed(1)
    gen = torch.Generator().manual_seed(1)
    model = Sorter(variant)

    def training_step(model, batch):
        src, tgt = batch
        bos = torch.full((len(src), 1), BOS)
        tgt_in = torch.cat([bos, tgt[:, :-1]], dim=1)
        logits = model(src, tgt_in)
        return F.cross_entropy(logits.reshape(-1, VOCAB), tgt.reshape(-1))

    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3),
        "train_loader": make_batches(250, 96, gen),
        "val_loader": make_batches(4, 128, gen),
        "training_step": training_step,
    }


def main():
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(4):
        model.train()
        for i, batch in enumerate(p["train_loader"]):
            loss = p["training_step"](model, batch)
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            if i % 125 == 0:
                print(f"epoch {epoch} step {i} loss {loss.item():.4f}")
    model.eval()
    right = [(model.greedy(src) == tgt).float().mean() for src, tgt in p["val_loader"]]
    print(f"score: {torch.stack(right).mean().item():.4f}")


if __name__ == "__main__":
    main()
