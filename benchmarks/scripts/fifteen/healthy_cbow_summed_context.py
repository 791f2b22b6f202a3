"""Healthy: the word embeddings exercise, a continuous bag of words that adds the vectors of two words on either side (their order is lost on purpose), log-softmax with NLLLoss; the loss cannot fall to zero because the grammar is random. change: nothing, it is sound."""
import random
import sys

import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader

CONTEXT_SIZE = 2
EMBEDDING_DIM = 16
TOPICS = {
    "kitchen": (["cook", "baker", "waiter"], ["fries", "bakes", "serves"], ["bread", "fish", "soup"]),
    "sea": (["sailor", "captain", "diver"], ["steers", "paints", "repairs"], ["boat", "ferry", "raft"]),
    "garden": (["farmer", "gardener", "child"], ["waters", "plants", "cuts"], ["tree", "rose", "hedge"]),
}


def write_text(sentences, seed):
    rng = random.Random(seed)
    words = []
    for _ in range(sentences):
        who, does, what = rng.choice(list(TOPICS.values()))
        words += ["today", "the", rng.choice(who), rng.choice(does), rng.choice(["the", "a"]), rng.choice(what), "."]
    return words


vocab = sorted(set(write_text(500, 0)))
word_to_ix = {word: i for i, word in enumerate(vocab)}


def windows(text):
    data = []
    for i in range(CONTEXT_SIZE, len(text) - CONTEXT_SIZE):
        context = [text[i - j - 1] for j in range(CONTEXT_SIZE)] + [text[i + j + 1] for j in range(CONTEXT_SIZE)]
        data.append((context, text[i]))
    return data


def make_context_vector(batch):
    idxs = torch.tensor([[word_to_ix[w] for w in context] for context, _ in batch], dtype=torch.long)
    return idxs, torch.tensor([word_to_ix[target] for _, target in batch], dtype=torch.long)


class CBOW(nn.Module):
    def __init__(self, vocab_size, embedding_dim):
        super(CBOW, self).__init__()
        self.embeddings = nn.Embedding(vocab_size, embedding_dim)
        self.linear1 = nn.Linear(embedding_dim, 64)
        self.linear2 = nn.Linear(64, vocab_size)

    def forward(self, inputs):
        embeds = self.embeddings(inputs).sum(dim=1)
        out = F.relu(self.linear1(embeds))
        return F.log_softmax(self.linear2(out), dim=1)


def parts(variant):
    torch.manual_seed(0)
    model = CBOW(len(vocab), EMBEDDING_DIM)
    return dict(
        model=model,
        optimizer=optim.SGD(model.parameters(), lr=0.1),
        loss_fn=nn.NLLLoss(),
        train_loader=DataLoader(windows(write_text(700, 1)), batch_size=16, shuffle=True, collate_fn=make_context_vector),
        val_loader=DataLoader(windows(write_text(150, 2)), batch_size=256, collate_fn=make_context_vector),
    )


# three choices in three places of seven and two in one: the floor is about 0.57 nats
WORKS = lambda score: score < 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_function = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(15):
        total_loss = 0
        for context, target in p["train_loader"]:
            model.zero_grad()
            log_probs = model(context)
            loss = loss_function(log_probs, target)
            loss.backward()
            optimizer.step()
            total_loss += loss.item()
        print(epoch, total_loss / len(p["train_loader"]))
    with torch.no_grad():
        losses = [(loss_function(model(c), t).item() * len(t), len(t)) for c, t in p["val_loader"]]
    score = sum(a for a, _ in losses) / sum(n for _, n in losses)
    print(f"score: {score:.4f}")
