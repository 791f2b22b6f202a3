"""GRU encoder-decoder that reverses a sequence; the two directions of the encoder's final state are merged by view on (2, B, H), which mixes the samples of a batch; change: `fixed` transposes first."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

VOCAB, LEN, BOS = 12, 5, 0
HID = 64
WORKS = lambda score: score > 0.8          # share of held-out tokens right by greedy decoding


class Seq2Seq(nn.Module):
    def __init__(self, transpose=True):
        super().__init__()
        self.transpose = transpose
        self.src_emb = nn.Embedding(VOCAB, 32)
        self.tgt_emb = nn.Embedding(VOCAB, 32)
        self.encoder = nn.GRU(32, HID, batch_first=True, bidirectional=True)
        self.decoder = nn.GRU(32, 2 * HID, batch_first=True)
        self.out = nn.Linear(2 * HID, VOCAB)

    def encode(self, src):
        _, h = self.encoder(self.src_emb(src))           # 2 x B x HID
        if self.transpose:
            h = h.transpose(0, 1)
        return h.contiguous().view(src.size(0), 2 * HID).unsqueeze(0)

    def forward(self, src, tgt_in):
        dec, _ = self.decoder(self.tgt_emb(tgt_in), self.encode(src))
        return self.out(dec)

    @torch.no_grad()
    def greedy(self, src):
        h = self.encode(src)
        tok = torch.full((src.size(0), 1), BOS)
        result = []
        for _ in range(LEN):
            o, h = self.decoder(self.tgt_emb(tok), h)
            tok = self.out(o).argmax(-1)
            result.append(tok)
        return torch.cat(result, 1)


def parts(variant):
    torch.manual_seed(42)
    src = torch.randint(1, VOCAB, (6400, LEN))
    tgt = src.flip(1)
    train_loader = DataLoader(TensorDataset(src[:6000], tgt[:6000]), batch_size=64, shuffle=True)
    val_loader = DataLoader(TensorDataset(src[6000:], tgt[6000:]), batch_size=1)
    model = Seq2Seq(transpose=variant != "bad")
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    criterion = nn.CrossEntropyLoss()

    def training_step(model, batch):
        s, t = batch
        t_in = torch.cat([torch.full((len(t), 1), BOS), t[:, :-1]], 1)
        logits = model(s, t_in)
        return criterion(logits.view(-1, VOCAB), t.view(-1))

    return {"model": model, "optimizer": optimizer, "train_loader": train_loader, "val_loader": val_loader,
            "training_step": training_step}


def evaluate(model, loader):
    model.eval()
    right = total = 0
    for s, t in loader:
        right += (model.greedy(s) == t).sum().item()
        total += t.numel()
    model.train()
    return right / total


if __name__ == "__main__":
    variant = sys.argv[1] if len(sys.argv) > 1 else "fixed"
    p = parts(variant)
    model, opt = p["model"], p["optimizer"]
    for epoch in range(14):
        run = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            run += loss.item()
        print(f"Epoch {epoch + 1:02d} | train loss {run / len(p['train_loader']):.3f}")
    print("score:", round(evaluate(model, p["val_loader"]), 4))
