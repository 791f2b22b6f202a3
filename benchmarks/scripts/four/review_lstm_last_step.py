"""Sentiment of short reviews padded to 90 words: the LSTM's output at the last (padded) step is classified; change: the output at each review's own last word."""
import random
import sys
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

PAD, MAX_LEN, VOCAB = 0, 90, 600
PRAISE, BLAME, NEUTRAL = range(1, 60), range(60, 120), range(120, VOCAB)


def make_reviews(n, seed):
    rng = random.Random(seed)
    reviews = []
    for _ in range(n):
        label = rng.randint(0, 1)
        words = []
        for _ in range(rng.randint(6, 20)):
            r = rng.random()
            if r < 0.35:
                words.append(rng.choice(PRAISE if label else BLAME))
            elif r < 0.45:
                words.append(rng.choice(BLAME if label else PRAISE))
            else:
                words.append(rng.choice(NEUTRAL))
        reviews.append((torch.tensor(words), label))
    return reviews


def collate(batch):
    texts, labels = zip(*batch)
    x = pad_sequence(texts, batch_first=True, padding_value=PAD)
    full = torch.full((len(texts), MAX_LEN), PAD)
    full[:, :x.size(1)] = x
    return full, torch.tensor(labels)


class SentimentLSTM(nn.Module):
    def __init__(self, vocab_size, emb_dim=32, hidden=48, use_lengths=True):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, emb_dim, padding_idx=PAD)
        self.lstm = nn.LSTM(emb_dim, hidden, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(hidden, 2)
        self.use_lengths = use_lengths

    def forward(self, text):
        out, (h, c) = self.lstm(self.embedding(text))
        if self.use_lengths:
            last = (text != PAD).sum(1) - 1
            out = out[torch.arange(len(text)), last]
        else:
            out = out[:, -1, :]
        return self.fc(self.dropout(out))


def parts(variant):
    torch.manual_seed(0)
    model = SentimentLSTM(VOCAB, use_lengths=(variant != "bad"))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(make_reviews(1800, 11), batch_size=32, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(make_reviews(400, 12), batch_size=100, collate_fn=collate)}


WORKS = lambda score: score > 0.75


def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        right = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return right / len(loader.dataset)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(10):
        model.train()
        epoch_loss = 0
        for text, labels in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(text), labels)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item()
        print(f"Epoch {epoch+1:02} | Train Loss: {epoch_loss / len(p['train_loader']):.3f} | Val. Acc: {evaluate(model, p['val_loader'])*100:.2f}%")
    print(f"score: {evaluate(model, p['val_loader']):.4f}")
