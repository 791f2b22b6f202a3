"""Healthy: word vectors by skip-gram with negative sampling on sentences about animals, tools, food and towns; the context table starts at zero as in the
original program, the gradients are sparse and most rows get none in a step, the loss stays far from zero. Nothing to change."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

TOPICS, PER_TOPIC, COMMON = 8, 20, 40
VOCAB = TOPICS * PER_TOPIC + COMMON


def corpus(sentences, seed):
    g = torch.Generator().manual_seed(seed)
    topic = torch.randint(0, TOPICS, (sentences, 1), generator=g)
    words = topic * PER_TOPIC + torch.randint(0, PER_TOPIC, (sentences, 12), generator=g)
    common = TOPICS * PER_TOPIC + torch.randint(0, COMMON, (sentences, 12), generator=g)
    return torch.where(torch.rand(sentences, 12, generator=g) < 0.4, common, words)


def pairs(text, window=2):
    out = []
    for k in range(1, window + 1):
        left, right = text[:, :-k].reshape(-1), text[:, k:].reshape(-1)
        out += [torch.stack([left, right], 1), torch.stack([right, left], 1)]
    return torch.cat(out)


class SkipGram(nn.Module):
    def __init__(self, vocab, dim):
        super().__init__()
        self.center = nn.Embedding(vocab, dim, sparse=True)
        self.context = nn.Embedding(vocab, dim, sparse=True)
        nn.init.uniform_(self.center.weight, -0.5 / dim, 0.5 / dim)
        nn.init.zeros_(self.context.weight)

    def forward(self, center, context):
        return torch.einsum("bd,bkd->bk", self.center(center), self.context(context))


def parts(variant):
    torch.manual_seed(0)
    model = SkipGram(VOCAB, 32)
    train, val = pairs(corpus(900, 1)), pairs(corpus(60, 2))
    noise = torch.bincount(train[:, 1], minlength=VOCAB).float().pow(0.75)

    def training_step(model, batch):
        center, word = batch
        negatives = torch.multinomial(noise, len(center) * 5, replacement=True).view(len(center), 5)
        score = model(center, torch.cat([word[:, None], negatives], 1))
        return -(F.logsigmoid(score[:, 0]) + F.logsigmoid(-score[:, 1:]).sum(1)).mean()

    return dict(model=model, optimizer=torch.optim.SparseAdam(list(model.parameters()), lr=0.01), training_step=training_step,
                train_loader=DataLoader(TensorDataset(train[:, 0], train[:, 1]), 128, shuffle=True),
                val_loader=DataLoader(TensorDataset(val[:, 0], val[:, 1]), 128))


def neighbours_of_the_same_topic(model):
    v = F.normalize(model.center.weight.detach()[:TOPICS * PER_TOPIC], dim=1)
    sim = v @ v.T - 2 * torch.eye(len(v))
    topic = torch.arange(len(v)) // PER_TOPIC
    return (topic[sim.topk(5).indices] == topic[:, None]).float().mean().item()


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(8):
        total = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch}: {total / len(p['train_loader']):.4f}")
    score = neighbours_of_the_same_topic(model)
    print(f"score: {score:.4f}")
