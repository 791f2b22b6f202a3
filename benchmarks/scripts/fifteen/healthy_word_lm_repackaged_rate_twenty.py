"""Healthy: the word language model example: the text is cut into columns, the LSTM's state is detached and handed to the next chunk in order, SGD at a rate of 20 with gradients clipped to 0.25, the rate quartered when validation stops improving. change: nothing, it is sound."""
import math
import random
import sys

import torch
from torch import nn

BPTT = 20


def story(n_sentences, seed):
    rng = random.Random(seed)
    words = []
    for _ in range(n_sentences):
        plural = rng.random() < 0.5
        noun = rng.choice(["cat", "king", "boy", "ship"]) + ("s" if plural else "")
        where = rng.choice([[], ["near", "the", rng.choice(["hill", "lakes", "roads", "tower"])]])
        verb = rng.choice(["sleep", "wait", "move"]) + ("" if plural else "s")
        words += ["the", noun] + where + [verb] + rng.choice([[], ["quietly"], ["again"]]) + ["<eos>"]
    return words


vocabulary = {w: i for i, w in enumerate(sorted(set(story(600, 0))))}


def batchify(words, bsz):
    data = torch.tensor([vocabulary[w] for w in words])
    nbatch = data.size(0) // bsz
    return data.narrow(0, 0, nbatch * bsz).view(bsz, -1).t().contiguous()


class Chunks:
    def __init__(self, source):
        self.source = source

    def __len__(self):
        return math.ceil((self.source.size(0) - 1) / BPTT)

    def __iter__(self):
        for i in range(0, self.source.size(0) - 1, BPTT):
            seq_len = min(BPTT, self.source.size(0) - 1 - i)
            yield self.source[i:i + seq_len], self.source[i + 1:i + 1 + seq_len].reshape(-1), i == 0


class RNNModel(nn.Module):
    def __init__(self, ntoken, ninp, nhid, dropout=0.2):
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, nhid)
        self.decoder = nn.Linear(nhid, ntoken)
        self.hidden = None
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)

    def forward(self, input, fresh=False):
        hidden = None if fresh or self.hidden is None else tuple(h.detach() for h in self.hidden)
        emb = self.drop(self.encoder(input))
        output, self.hidden = self.rnn(emb, hidden)
        decoded = self.decoder(self.drop(output))
        return nn.functional.log_softmax(decoded.view(-1, decoded.size(-1)), dim=1)


criterion = nn.NLLLoss()


def step(model, batch, optimizer):
    data, targets, fresh = batch
    optimizer.zero_grad()
    loss = criterion(model(data, fresh), targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
    optimizer.step()
    return loss.detach()


def evaluate(model, source):
    model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for data, targets, fresh in source:
            total += criterion(model(data, fresh), targets).item() * len(targets)
            count += len(targets)
    return total / count


def parts(variant):
    torch.manual_seed(0)
    model = RNNModel(len(vocabulary), 48, 48)
    return dict(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=20),
        step=step,
        train_loader=Chunks(batchify(story(6000, 1), 20)),
        val_loader=Chunks(batchify(story(600, 2), 20)),
    )


# perplexity: the grammar's own is about 2.3; word frequencies alone give about 11
WORKS = lambda score: score < 2.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    best_val_loss = None
    for epoch in range(1, 13):
        model.train()
        losses = [step(model, batch, optimizer).item() for batch in p["train_loader"]]
        val_loss = evaluate(model, p["val_loader"])
        print(f"| epoch {epoch:3d} | train {sum(losses) / len(losses):5.3f} | valid ppl {math.exp(val_loss):8.2f}")
        if not best_val_loss or val_loss < best_val_loss:
            best_val_loss = val_loss
        else:
            optimizer.param_groups[0]["lr"] /= 4.0
    score = math.exp(evaluate(model, p["val_loader"]))
    print(f"score: {score:.4f}")
