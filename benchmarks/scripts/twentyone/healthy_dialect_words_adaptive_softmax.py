"""A word model over a Zipf vocabulary of 1200 with an adaptive softmax, the batch split in two halves whose gradients accumulate before one clipped step; much of the loss is a floor that no model can remove."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

VOCAB, TOPICS, WINDOW = 1200, 12, 12


def language():
    """a Markov chain of word classes; words of a class follow Zipf's law."""
    g = torch.Generator().manual_seed(42)
    moves = torch.rand(TOPICS, TOPICS, generator=g).pow(12)
    moves = moves / moves.sum(1, keepdim=True)
    topic_of = torch.arange(VOCAB) % TOPICS
    zipf = 1.0 / (torch.arange(VOCAB) + 3.0)
    words = torch.where(topic_of.unsqueeze(0) == torch.arange(TOPICS).unsqueeze(1), zipf, torch.zeros(()))
    return moves, words / words.sum(1, keepdim=True)


def text(n, seed):
    moves, words = language()
    g = torch.Generator().manual_seed(seed)
    topic = torch.randint(0, TOPICS, (n,), generator=g)
    tokens = []
    for _ in range(WINDOW + 1):
        tokens.append(torch.multinomial(words[topic], 1, generator=g).squeeze(1))
        topic = torch.multinomial(moves[topic], 1, generator=g).squeeze(1)
    tokens = torch.stack(tokens, 1)
    return tokens[:, :-1], tokens[:, 1:]


class DialectModel(nn.Module):
    def __init__(self, dim=48):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, dim)
        self.rnn = nn.GRU(dim, 64, batch_first=True)
        # words are numbered by frequency, so the first cutoff holds the common ones
        self.out = nn.AdaptiveLogSoftmaxWithLoss(64, VOCAB, cutoffs=[100, 400], div_value=2.0)

    def forward(self, tokens, following):
        h, _ = self.rnn(self.embed(tokens))
        return self.out(h.flatten(0, 1), following.flatten()).loss


def parts(variant):
    torch.manual_seed(0)
    model = DialectModel()

    def step(model, batch, optimizer):
        optimizer.zero_grad()
        total = 0.0
        halves = list(zip(batch[0].chunk(2), batch[1].chunk(2)))
        for tokens, following in halves:
            loss = model(tokens, following) * (len(tokens) / len(batch[0]))
            loss.backward()
            total += loss.detach()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return total

    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3),
        "step": step,
        "train_loader": DataLoader(TensorDataset(*text(5000, 1)), batch_size=100, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*text(500, 2)), batch_size=500),
    }


def unigram_loss(loader, val_loader):
    counts = torch.ones(VOCAB)
    for _, following in loader:
        counts += torch.bincount(following.flatten(), minlength=VOCAB)
    _, following = next(iter(val_loader))
    return -(counts / counts.sum()).log()[following].mean().item()


# nats per word won against the word frequencies alone
WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    base = unigram_loss(p["train_loader"], p["val_loader"])
    print(f"word frequencies alone {base:.4f}")
    for epoch in range(10):
        model.train()
        total = sum(p["step"](model, batch, opt).item() for batch in p["train_loader"])
        model.eval()
        with torch.no_grad():
            val = model(*next(iter(p["val_loader"]))).item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f} val {val:.4f}")
    print(f"score: {base - val:.4f}")
