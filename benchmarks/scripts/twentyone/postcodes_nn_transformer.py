"""nn.Transformer that sorts a string of six letters; mistake: the decoder gets no tgt_mask, it sees the letters it is to give, the loss goes to 0 and greedy decoding gives rubbish; change: a square subsequent mask."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

BOS, EOS, OFFSET, LETTERS, LENGTH = 0, 1, 2, 16, 6
VOCAB = OFFSET + LETTERS


def pairs(n, seed):
    g = torch.Generator().manual_seed(seed)
    src = torch.randint(OFFSET, VOCAB, (n, LENGTH), generator=g)
    tgt = torch.cat([torch.full((n, 1), BOS), src.sort(dim=1).values, torch.full((n, 1), EOS)], dim=1)
    return TensorDataset(src, tgt)


class SortTransformer(nn.Module):
    def __init__(self, d_model=48, causal=True):
        super().__init__()
        self.causal = causal
        self.src_emb = nn.Embedding(VOCAB, d_model)
        self.tgt_emb = nn.Embedding(VOCAB, d_model)
        self.pos = nn.Embedding(16, d_model)
        self.transformer = nn.Transformer(d_model, nhead=4, num_encoder_layers=2, num_decoder_layers=2, dim_feedforward=96,
                                          dropout=0.0, batch_first=True)
        self.proj = nn.Linear(d_model, VOCAB)

    def forward(self, src, tgt):
        s = self.src_emb(src) + self.pos(torch.arange(src.size(1)))
        t = self.tgt_emb(tgt) + self.pos(torch.arange(tgt.size(1)))
        mask = nn.Transformer.generate_square_subsequent_mask(tgt.size(1)) if self.causal else None
        return self.proj(self.transformer(s, t, tgt_mask=mask))

    @torch.no_grad()
    def greedy(self, src):
        ys = torch.full((src.size(0), 1), BOS)
        for _ in range(LENGTH):
            nxt = self(src, ys)[:, -1].argmax(-1, keepdim=True)
            ys = torch.cat([ys, nxt], dim=1)
        return ys[:, 1:]


criterion = nn.CrossEntropyLoss()


def training_step(model, batch):
    src, tgt = batch
    logits = model(src, tgt[:, :-1])
    return criterion(logits.reshape(-1, VOCAB), tgt[:, 1:].reshape(-1))


def parts(variant):
    torch.manual_seed(0)
    model = SortTransformer(causal=(variant != "bad"))
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3), training_step=training_step,
                train_loader=DataLoader(pairs(6000, 1), batch_size=100, shuffle=True),
                val_loader=DataLoader(pairs(300, 2), batch_size=100))


WORKS = lambda score: score > 0.75   # letters right at their place, greedy decoding

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(5):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f}")
    model.eval()
    right = torch.cat([(model.greedy(src) == tgt[:, 1:-1]).float() for src, tgt in p["val_loader"]])
    score = right.mean().item()
    print(f"score: {score:.4f}")
