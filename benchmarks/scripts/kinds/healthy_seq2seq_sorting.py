"""Healthy: encoder-decoder transformer that sorts numbers of padded sequences; padding and causal masks, label smoothing, warm-up; score by greedy decoding; nothing to change."""
import argparse
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

PAD, BOS, EOS, FIRST, VOCAB, MAXLEN = 0, 1, 2, 3, 15, 7
WORKS = lambda score: score > 0.8


def sequences(n, seed):
    g = torch.Generator().manual_seed(seed)
    src = torch.full((n, MAXLEN), PAD)
    tgt = torch.full((n, MAXLEN + 2), PAD)
    for i in range(n):
        k = int(torch.randint(3, MAXLEN + 1, (1,), generator=g))
        s = torch.randint(FIRST, VOCAB, (k,), generator=g)
        src[i, :k] = s
        tgt[i, : k + 2] = torch.cat([torch.tensor([BOS]), s.sort().values, torch.tensor([EOS])])
    return src, tgt


class Sorter(nn.Module):
    def __init__(self, d=48):
        super().__init__()
        self.tok = nn.Embedding(VOCAB, d, padding_idx=PAD)
        self.pos = nn.Embedding(MAXLEN + 2, d)
        self.tr = nn.Transformer(d, 4, 1, 1, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.out = nn.Linear(d, VOCAB)

    def embed(self, ids):
        return self.tok(ids) + self.pos(torch.arange(ids.shape[1]))

    def forward(self, src, tgt):
        t = tgt.shape[1]
        causal = torch.triu(torch.ones(t, t, dtype=torch.bool), 1)
        pad = src == PAD
        h = self.tr(self.embed(src), self.embed(tgt), tgt_mask=causal, src_key_padding_mask=pad, memory_key_padding_mask=pad, tgt_key_padding_mask=tgt == PAD)
        return self.out(h)


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = Sorter()
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98))
    criterion = nn.CrossEntropyLoss(ignore_index=PAD, label_smoothing=0.05)

    def training_step(model, batch):
        src, tgt = batch
        return criterion(model(src, tgt[:, :-1]).flatten(0, 1), tgt[:, 1:].flatten())

    return {"model": model, "optimizer": opt, "training_step": training_step, "train_loader": DataLoader(TensorDataset(*sequences(3200, 1)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*sequences(300, 2)), batch_size=100), "scheduler": torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min(1, (s + 1) / 100))}


@torch.no_grad()
def exact_match(model, loader):
    model.eval()
    right = total = 0
    for src, tgt in loader:
        out = torch.full((len(src), 1), BOS)
        for _ in range(MAXLEN + 1):
            out = torch.cat([out, model(src, out)[:, -1].argmax(-1, keepdim=True)], 1)
        right += ((out == tgt) | (tgt == PAD)).all(1).sum().item()
        total += len(src)
    return right / total


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=16)
    args = ap.parse_args()
    p = parts(args.variant)
    for epoch in range(args.epochs):
        p["model"].train()
        mean = 0
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(p["model"].parameters(), 1.0)
            p["optimizer"].step()
            p["scheduler"].step()
            mean += loss.item() / len(p["train_loader"])
        if epoch % 3 == 0:
            print(f"epoch {epoch} loss {mean:.3f}")
    print("score:", exact_match(p["model"], p["val_loader"]))
