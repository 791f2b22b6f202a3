"""Sound: a small decoder-only transformer whose forward puts a start token in front and drops the last token, so the loss rightly compares the output at place t with the token at place t. change: nothing."""
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

KINDS, LENGTH = 16, 12


def recipes(n, seed):
    """Steps of a recipe: each step follows from the two before it."""
    g = torch.Generator().manual_seed(seed)
    steps = [torch.randint(0, KINDS, (n,), generator=g) for _ in range(2)]
    while len(steps) < LENGTH:
        steps.append((steps[-1] + 3 * steps[-2] + 1) % KINDS)
    return TensorDataset(torch.stack(steps, 1))


class RecipeGPT(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.start = nn.Parameter(torch.zeros(1, 1, width))
        self.token = nn.Embedding(KINDS, width)
        self.place = nn.Parameter(0.02 * torch.randn(LENGTH, width))
        block = nn.TransformerEncoderLayer(width, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.logits = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, KINDS))

    def forward(self, tokens):
        x = torch.cat([self.start.expand(len(tokens), -1, -1), self.token(tokens)[:, :-1]], 1)
        x = x + self.place
        mask = torch.full((LENGTH, LENGTH), float("-inf")).triu(1)
        return self.logits(self.blocks(x, mask=mask))


def parts(variant):
    torch.manual_seed(0)
    model = RecipeGPT()

    def training_step(model, batch):
        tokens = batch[0]
        return F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())

    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01),
            "training_step": training_step,
            "train_loader": DataLoader(recipes(4000, 1), batch_size=64, shuffle=True),
            "val_loader": DataLoader(recipes(300, 2), batch_size=100)}


WORKS = lambda score: score > 0.9


@torch.no_grad()
def continued(model, tokens, given=3):
    made = tokens.clone()
    made[:, given:] = 0
    for t in range(given, LENGTH):
        made[:, t] = model(made)[:, t].argmax(1)
    return (made[:, given:] == tokens[:, given:]).float().mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(9):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            p["optimizer"].zero_grad(set_to_none=True)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch:2d} loss {sum(losses) / len(losses):.4f}")
    model.eval()
    score = sum(continued(model, tokens) for (tokens,) in p["val_loader"]) / len(p["val_loader"])
    print(f"score: {score:.4f}")
