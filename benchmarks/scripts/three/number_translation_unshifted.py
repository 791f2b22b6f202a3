"""Translation with an encoder-decoder, teacher forcing; the decoder is fed the very tokens it must say; change: the twin shifts them by one behind a begin token."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

WORDS, BOS, LENGTH = 10, 10, 5


def sentence_pairs(n, seed):
    """The other language says the words in reverse order and has other words for them."""
    lexicon = torch.randperm(WORDS, generator=torch.Generator().manual_seed(4))
    src = torch.randint(0, WORDS, (n, LENGTH), generator=torch.Generator().manual_seed(seed))
    return src, lexicon[src.flip(1)]


class Seq2Seq(nn.Module):
    def __init__(self, emb=32, hidden=128):
        super().__init__()
        self.src_emb = nn.Embedding(WORDS, emb)
        self.tgt_emb = nn.Embedding(WORDS + 1, emb)
        self.encoder = nn.GRU(emb, hidden, batch_first=True)
        self.decoder = nn.GRU(emb, hidden, batch_first=True)
        self.out = nn.Linear(hidden, WORDS)

    def forward(self, src, tgt_in):
        _, h = self.encoder(self.src_emb(src))
        y, _ = self.decoder(self.tgt_emb(tgt_in), h)
        return self.out(y)

    @torch.no_grad()
    def translate(self, src):
        _, h = self.encoder(self.src_emb(src))
        word, said = torch.full((len(src), 1), BOS), []
        for _ in range(LENGTH):
            y, h = self.decoder(self.tgt_emb(word), h)
            word = self.out(y).argmax(-1)
            said.append(word)
        return torch.cat(said, 1)


def dataset(pairs, shift):
    src, tgt = pairs
    if shift:
        tgt_in = torch.cat([torch.full((len(tgt), 1), BOS), tgt[:, :-1]], 1)
    else:
        tgt_in = tgt
    return TensorDataset(src, tgt_in, tgt)


def parts(variant):
    torch.manual_seed(0)
    shift = variant != "bad"
    model = Seq2Seq()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "loss_fn": lambda out, tgt: F.cross_entropy(out.transpose(1, 2), tgt),
            "train_loader": DataLoader(dataset(sentence_pairs(4000, 1), shift), batch_size=80, shuffle=True),
            "val_loader": DataLoader(dataset(sentence_pairs(300, 2), shift), batch_size=300)}


WORKS = lambda score: score > 0.7        # share of right words in free translation


class Trainer:
    def __init__(self, model, optimizer, loss_fn, train_loader, val_loader):
        self.__dict__.update(locals())

    def epoch(self):
        self.model.train()
        total = 0
        for src, tgt_in, tgt in self.train_loader:
            self.optimizer.zero_grad()
            loss = self.loss_fn(self.model(src, tgt_in), tgt)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(self.train_loader)

    def bleuish(self):
        self.model.eval()
        return torch.cat([(self.model.translate(s) == t).float() for s, _, t in self.val_loader]).mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    trainer = Trainer(**p)
    for e in range(14):
        print(f"[{e}] loss={trainer.epoch():.4f} words right={trainer.bleuish():.3f}")
    print(f"score: {trainer.bleuish():.4f}")
