"""Regression of the sag of rope bridges by a Hessian-free method: Gauss-Newton vector products (jvp and vjp of torch.func), conjugate gradients, Levenberg-Marquardt damping adapted by the reduction ratio. Unusual: no .grad is used for the direction; the found direction is put in .grad for SGD with rate 1."""
import sys
import torch
import torch.nn as nn
from torch.func import functional_call, jvp, vjp
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def bridges(n, g):
    x = torch.rand(n, 4, generator=g) * 2 - 1         # span, load, stiffness, temperature, all scaled to -1..1
    y = torch.sin(2 * x[:, 0]) * torch.exp(0.5 * x[:, 1]) - 0.8 * x[:, 2] * x[:, 0] ** 2 + 0.3 * x[:, 3]
    return x, (y + 0.03 * torch.randn(n, generator=g)).unsqueeze(1)


def dot(a, b):
    return sum((a[k] * b[k]).sum() for k in a)


def axpy(c, a, b):
    return {k: b[k] + c * a[k] for k in b}


def parts(variant):
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    x, y = bridges(1600, g)
    xv, yv = bridges(400, g)
    m, s = y.mean(), y.std()
    model = nn.Sequential(nn.Linear(4, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1))
    damping = [1e-2]

    def step(model, batch, optimizer):
        x, y = batch
        params = {k: v.detach() for k, v in model.named_parameters()}
        net = lambda p: functional_call(model, p, (x,))
        out, pull = vjp(net, params)
        resid = out - y
        loss = (resid ** 2).mean()
        grad = pull(2 * resid / len(x))[0]

        def gauss_newton(v):
            jv = jvp(net, (params,), (v,))[1]
            return pull(2 * jv / len(x))[0]

        d = {k: torch.zeros_like(v) for k, v in params.items()}
        r = {k: -v for k, v in grad.items()}
        p, rr = dict(r), dot(r, r)
        stop = 1e-3 * rr
        for _ in range(12):
            Ap = axpy(damping[0], p, gauss_newton(p))
            alpha = rr / dot(p, Ap)
            d, r = axpy(alpha, p, d), axpy(-alpha, Ap, r)
            new = dot(r, r)
            if new < stop:
                break
            p, rr = axpy((new / rr).item(), p, r), new
        predicted = dot(grad, d) + 0.5 * dot(d, gauss_newton(d))
        actual = ((net(axpy(1.0, d, params)) - y) ** 2).mean() - loss
        ratio = (actual / predicted).item()
        if ratio > 0.75:
            damping[0] = max(damping[0] * 0.7, 1e-5)
        elif ratio < 0.25:
            damping[0] = min(damping[0] * 1.5, 10.0)
        optimizer.zero_grad()
        if actual < 0:
            for k, v in model.named_parameters():
                v.grad = -d[k]
            optimizer.step()
        return loss

    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=1.0), "step": step,
            "train_loader": DataLoader(TensorDataset(x, (y - m) / s), batch_size=400, shuffle=True),
            "val_loader": DataLoader(TensorDataset(xv, (yv - m) / s), batch_size=400)}


WORKS = lambda score: score > 0.97

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(40):
        for batch in p["train_loader"]:
            loss = p["step"](model, batch, p["optimizer"])
        if epoch % 8 == 7:
            print(f"epoch {epoch + 1}: mse {loss.item():.5f}")
    with torch.no_grad():
        x, y = next(iter(p["val_loader"]))
        r2 = 1 - ((model(x) - y) ** 2).mean() / y.var()
    print("score:", r2.item())
