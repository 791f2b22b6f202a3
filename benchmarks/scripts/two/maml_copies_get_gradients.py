"""Few-shot sine regression, MAML: the query loss is computed on a deepcopy adapted by its own SGD, so the gradients stay in the copy and the meta-parameters never get any; change: adapt functionally (functional_call, create_graph)."""
import sys, copy, math, torch
from torch import nn
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

INNER_LR, INNER_STEPS = 0.05, 2

def tasks(n, seed, shots=10):
    g = torch.Generator().manual_seed(seed)
    amp, ph = 1 + 2 * torch.rand(n, 1, generator=g), math.pi * torch.rand(n, 1, generator=g)
    x = torch.rand(n, 2 * shots, generator=g) * 8 - 4
    y = amp * torch.sin(x + ph)
    return TensorDataset(x[:, :shots, None], y[:, :shots, None], x[:, shots:, None], y[:, shots:, None])

def adapt_copy(model, xs, ys):
    fast = copy.deepcopy(model)
    opt = torch.optim.SGD(fast.parameters(), lr=INNER_LR)
    for _ in range(INNER_STEPS):
        opt.zero_grad(); nn.functional.mse_loss(fast(xs), ys).backward(); opt.step()
    return fast

def adapt_functional(model, xs, ys):
    w = dict(model.named_parameters())
    for _ in range(INNER_STEPS):
        g = torch.autograd.grad(nn.functional.mse_loss(functional_call(model, w, (xs,)), ys), list(w.values()), create_graph=True)
        w = {k: v - INNER_LR * d for (k, v), d in zip(w.items(), g)}
    return lambda x: functional_call(model, w, (x,))

def make_step(adapt):
    def step(model, optimizer, batch):
        optimizer.zero_grad()
        losses = [nn.functional.mse_loss(adapt(model, xs, ys)(xq), yq) for xs, ys, xq, yq in zip(*batch)]
        loss = torch.stack(losses).mean()
        loss.backward()
        optimizer.step()
        return loss
    return step

def parts(variant):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=3e-3), "step": make_step(adapt_functional if variant == "fixed" else adapt_copy),
            "train_loader": DataLoader(tasks(1600, 0), batch_size=4, shuffle=True), "val_loader": DataLoader(tasks(200, 1), batch_size=50)}

WORKS = lambda score: score < 0.35     # query error after adaptation, against the variance

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad"); net = p["model"]
    for epoch in range(2):
        tot = 0
        for batch in p["train_loader"]: tot += p["step"](net, p["optimizer"], batch).item()
        print("epoch", epoch + 1, "query mse", tot / len(p["train_loader"]))
    err = var = 0
    for batch in p["val_loader"]:
        for xs, ys, xq, yq in zip(*batch):
            err += ((adapt_copy(net, xs, ys)(xq) - yq) ** 2).mean().item(); var += (yq ** 2).mean().item()
    print("score:", err / var)
