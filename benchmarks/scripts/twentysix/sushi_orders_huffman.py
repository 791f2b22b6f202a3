"""Next dish on a running sushi order (48 dishes) with a hierarchical softmax over a Huffman tree. The loss takes 1 - code as the label of each fork, as word2vec does, while the reader of the tree goes to the child with code 1 where the score is positive, so every fork is learned the other way round; the right change: codes themselves as labels in the loss."""
import heapq
import itertools
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
DISHES = 48


class HuffmanTree:
    def __init__(self, counts):
        tie = itertools.count()
        heap = [(int(c), next(tie), ("leaf", d)) for d, c in enumerate(counts)]
        heapq.heapify(heap)
        forks = 0
        while len(heap) > 1:
            a, b = heapq.heappop(heap), heapq.heappop(heap)
            heapq.heappush(heap, (a[0] + b[0], next(tie), ("fork", forks, a[2], b[2])))
            forks += 1
        paths = {}

        def walk(node, forks_on_way, code):
            if node[0] == "leaf":
                paths[node[1]] = (forks_on_way, code)
            else:
                walk(node[2], forks_on_way + [node[1]], code + [0])
                walk(node[3], forks_on_way + [node[1]], code + [1])

        walk(heap[0][2], [], [])
        depth = max(len(c) for _, c in paths.values())
        self.forks = forks
        self.path = torch.zeros(len(counts), depth, dtype=torch.long)
        self.code = torch.zeros(len(counts), depth)
        self.on = torch.zeros(len(counts), depth)
        for d, (way, code) in paths.items():
            self.path[d, :len(way)], self.code[d, :len(code)] = torch.tensor(way), torch.tensor(code).float()
            self.on[d, :len(way)] = 1.0

    def log_probs(self, scores):
        """log-probability of each dish: a positive score at a fork means the child with code 1"""
        s = scores[:, self.path] * (2 * self.code - 1)
        return (F.logsigmoid(s) * self.on).sum(-1)


def orders(n, rng):
    habit = np.random.default_rng(4)
    popular = 1.0 / np.arange(1, DISHES + 1) ** 0.8
    follow = np.stack([habit.dirichlet(popular * 0.6) for _ in range(DISHES)])
    x, y = [], []
    dish = rng.integers(0, DISHES)
    before = dish
    for _ in range(n):
        after = rng.choice(DISHES, p=follow[dish]) if rng.random() < 0.9 else rng.integers(0, DISHES)
        x.append((before, dish))
        y.append(after)
        before, dish = dish, after
        if rng.random() < 0.12:
            before = dish = rng.integers(0, DISHES)
    return torch.tensor(np.array(x)), torch.tensor(np.array(y))


class OrderModel(nn.Module):
    def __init__(self, forks, dim=32):
        super().__init__()
        self.dish = nn.Embedding(DISHES, dim)
        self.mix = nn.Sequential(nn.Linear(2 * dim, 64), nn.ReLU())
        self.fork = nn.Linear(64, forks)

    def forward(self, last_two):
        return self.fork(self.mix(self.dish(last_two).flatten(1)))


def parts(variant):
    torch.manual_seed(8)
    rng = np.random.default_rng(8)
    x, y = orders(6000, rng)
    tree = HuffmanTree(torch.bincount(y[:5000], minlength=DISHES))
    labels = 1 - tree.code if variant == "bad" else tree.code

    def hierarchical_loss(scores, dish):
        at_forks = scores.gather(1, tree.path[dish])
        losses = F.binary_cross_entropy_with_logits(at_forks, labels[dish], reduction="none")
        return (losses * tree.on[dish]).sum(1).mean()

    def first_guess(scores, dish):
        return (tree.log_probs(scores).argmax(1) == dish).float().mean().item()

    model = OrderModel(tree.forks)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "loss_fn": hierarchical_loss, "metric": first_guess,
            "train_loader": DataLoader(TensorDataset(x[:5000], y[:5000]), batch_size=100, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[5000:], y[5000:]), batch_size=1000)}


WORKS = lambda score: score > 0.2

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(12):
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](x), y)
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}, first guess right {score:.3f}")
    print("score:", score)
