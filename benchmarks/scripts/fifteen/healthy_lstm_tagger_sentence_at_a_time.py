"""Healthy: the LSTM tagger of the sequence tutorial, without batches: one sentence of (words, tags) goes in as (length, 1, features) and the words are the examples of the loss; model.zero_grad instead of the optimizer's. change: nothing, it is sound."""
import random
import sys

import torch
from torch import nn
from torch.nn import functional as F

TAGS = {"DET": 0, "NN": 1, "V": 2, "ADJ": 3, "PRO": 4}
EITHER = ["plant", "watch", "water", "paint", "play", "book", "walk", "cook"]      # noun or verb, by its place
NOUNS = ["dog", "teacher", "river", "table"]
ADJECTIVES = ["green", "old", "quiet"]


def noun_phrase(rng):
    words = [(rng.choice(["the", "a", "this"]), "DET")]
    if rng.random() < 0.4:
        words.append((rng.choice(ADJECTIVES), "ADJ"))
    return words + [(rng.choice(NOUNS + EITHER), "NN")]


def sentence(rng):
    subject = [(rng.choice(["we", "they", "you"]), "PRO")] if rng.random() < 0.5 else noun_phrase(rng)
    words = subject + [(rng.choice(EITHER), "V")] + noun_phrase(rng)
    return [w for w, _ in words], [t for _, t in words]


def corpus(n, seed):
    rng = random.Random(seed)
    return [sentence(rng) for _ in range(n)]


training_data, test_data = corpus(300, 1), corpus(100, 2)
word_to_ix = {}
for sent, _ in training_data:
    for w in sent:
        word_to_ix.setdefault(w, len(word_to_ix))


def prepare_sequence(seq, to_ix):
    return torch.tensor([to_ix[w] for w in seq], dtype=torch.long)


class Sentences:
    def __init__(self, data, shuffle):
        self.data, self.shuffle = data, shuffle

    def __len__(self):
        return len(self.data)

    def __iter__(self):
        order = torch.randperm(len(self.data)).tolist() if self.shuffle else range(len(self.data))
        for i in order:
            words, tags = self.data[i]
            yield prepare_sequence(words, word_to_ix), prepare_sequence(tags, TAGS)


class LSTMTagger(nn.Module):
    def __init__(self, embedding_dim, hidden_dim, vocab_size, tagset_size):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim)
        self.hidden2tag = nn.Linear(hidden_dim, tagset_size)

    def forward(self, sentence):
        embeds = self.word_embeddings(sentence)
        lstm_out, _ = self.lstm(embeds.view(len(sentence), 1, -1))
        tag_space = self.hidden2tag(lstm_out.view(len(sentence), -1))
        return F.log_softmax(tag_space, dim=1)


def parts(variant):
    torch.manual_seed(0)
    model = LSTMTagger(16, 16, len(word_to_ix), len(TAGS))
    return dict(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        loss_fn=nn.NLLLoss(),
        train_loader=Sentences(training_data, True),
        val_loader=Sentences(test_data, False),
    )


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_function = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(15):
        total = 0.0
        for sentence_in, targets in p["train_loader"]:
            model.zero_grad()
            tag_scores = model(sentence_in)
            loss = loss_function(tag_scores, targets)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f}")
    good = words = 0
    with torch.no_grad():
        for sentence_in, targets in p["val_loader"]:
            good += (model(sentence_in).argmax(1) == targets).sum().item()
            words += len(targets)
    score = good / words
    print(f"score: {score:.4f}")
