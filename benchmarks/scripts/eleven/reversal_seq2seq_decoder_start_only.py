"""GRU encoder and decoder that write a word backwards, Adam; the decoder's input in training is filled with the start sign and the line that puts the answer, shifted by one, behind it is missing, so it gets a constant and later, when translating, letters that it never saw; change: that line."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

LETTERS, LENGTH = 10, 6
START = LETTERS


class Backwards(nn.Module):
    def __init__(self, width=64, teacher_forcing=True):
        super().__init__()
        self.teacher_forcing = teacher_forcing
        self.read = nn.Embedding(LETTERS, 24)
        self.encoder = nn.GRU(24, width, batch_first=True)
        self.write = nn.Embedding(LETTERS + 1, 24)
        self.decoder = nn.GRU(24, width, batch_first=True)
        self.out = nn.Linear(width, LETTERS)

    def encode(self, word):
        return self.encoder(self.read(word))[1]

    def forward(self, word, answer):
        given = torch.full_like(answer, START)
        if self.teacher_forcing:
            given[:, 1:] = answer[:, :-1]
        h, _ = self.decoder(self.write(given), self.encode(word))
        return self.out(h)

    @torch.no_grad()
    def translate(self, word):
        state = self.encode(word)
        letter, letters = torch.full_like(word[:, :1], START), []
        for _ in range(word.shape[1]):
            h, state = self.decoder(self.write(letter), state)
            letter = self.out(h).argmax(2)
            letters.append(letter)
        return torch.cat(letters, 1)


def training_step(model, batch):
    word, answer = batch
    return F.cross_entropy(model(word, answer).flatten(0, 1), answer.flatten())


def words(n, seed):
    w = torch.randint(0, LETTERS, (n, LENGTH), generator=torch.Generator().manual_seed(seed))
    return TensorDataset(w, w.flip(1))


def parts(variant):
    torch.manual_seed(0)
    model = Backwards(teacher_forcing=variant != "bad")
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=8e-3),
        "train_loader": DataLoader(words(12800, 1), batch_size=256, shuffle=True),
        "val_loader": DataLoader(words(500, 2), batch_size=250),
        "training_step": training_step,
    }


WORKS = lambda score: score > 0.85


def letters_right(model, loader):
    model.eval()
    right = [(model.translate(w) == a).float() for w, a in loader]
    model.train()
    return torch.cat(right).mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(10):
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.4f}, letters right {letters_right(model, p['val_loader']):.3f}")
    print(f"score: {letters_right(model, p['val_loader']):.4f}")
