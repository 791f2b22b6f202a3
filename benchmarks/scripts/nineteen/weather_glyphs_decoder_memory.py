"""Transformer that rewrites sequences of weather glyphs (reverse, then next glyph of the alphabet) with nn.TransformerDecoder; the call hands over the encoder's memory as tgt and the target as memory, so the answer is read through the unmasked cross attention. change: decoder(tgt, memory, tgt_mask)."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

V, L, BOS = 12, 7, 12


def data(n, seed):
    g = torch.Generator().manual_seed(seed)
    src = torch.randint(0, V, (n, L), generator=g)
    return src, (src.flip(1) + 1) % V


class Rewriter(nn.Module):
    def __init__(self, variant, d=64):
        super().__init__()
        self.variant = variant
        self.emb, self.pos = nn.Embedding(V + 1, d), nn.Parameter(torch.randn(L, d) * 0.1)
        self.pos_out = nn.Parameter(torch.randn(L, d) * 0.1)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(d, 4, 128, 0.0, batch_first=True), 1)
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(d, 4, 128, 0.0, batch_first=True), 1)
        self.out = nn.Linear(d, V)

    def forward(self, pair):
        src, tgt = pair[:, 0], pair[:, 1]
        memory = self.encoder(self.emb(src) + self.pos)
        tgt = self.emb(tgt) + self.pos_out
        mask = nn.Transformer.generate_square_subsequent_mask(L)
        if self.variant == "bad":
            h = self.decoder(memory, tgt, tgt_mask=mask)
        else:
            h = self.decoder(tgt, memory, tgt_mask=mask)
        return self.out(h)


def dataset(n, seed):
    src, out = data(n, seed)
    tgt = torch.cat([torch.full((n, 1), BOS), out[:, :-1]], 1)
    return TensorDataset(torch.stack([src, tgt], 1), out)


def sequence_loss(output, target):
    return nn.functional.cross_entropy(output.transpose(1, 2), target)


def parts(variant):
    torch.manual_seed(0)
    model = Rewriter(variant)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": sequence_loss,
            "train_loader": DataLoader(dataset(4000, 0), batch_size=64, shuffle=True),
            "val_loader": DataLoader(dataset(300, 1), batch_size=100)}


@torch.no_grad()
def translate_accuracy(model, loader):
    model.eval()
    right = n = 0
    for pair, out in loader:
        tgt = torch.full_like(out, BOS)
        for t in range(L):
            nxt = model(torch.stack([pair[:, 0], tgt], 1))[:, t].argmax(-1)
            right += (nxt == out[:, t]).sum().item()
            n += len(nxt)
            if t + 1 < L:
                tgt[:, t + 1] = nxt
    return right / n


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        total = 0.0
        for pair, out in p["train_loader"]:
            loss = p["loss_fn"](model(pair), out)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f} greedy accuracy {translate_accuracy(model, p['val_loader']):.4f}")
    score = translate_accuracy(model, p["val_loader"])
    print(f"score: {score:.4f}")
