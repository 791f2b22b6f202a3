"""Of several networks, an optimizer with the wrong network's parameters. No rule."""

from trainability.doctor.evidence import OptimizerSettings
from trainability.doctor.finding import Finding, Measurement

_MOST_NAMED = 3


def of_two(critic: str, generator: str) -> Finding:
    """A generator that its discriminator's optimizer makes worse."""
    return Finding(
        rule="foreign_optimizer",
        code="foreign_optimizer.opponent",
        severity="warning",
        seen=f"the optimizer of {critic} holds the parameters of {generator} as well, and steps them for the loss of {critic}; "
        f"the optimizer of {generator} steps them for an opposing loss",
        measurements=(Measurement(name="optimizers that move the same parameters", value=2.0, threshold=1.0),),
        cause=f"the parameters of both models are in one optimizer: each of its steps undoes what {generator} learned",
        remedy=f"give the optimizer of {critic} only the parameters of {critic}, and detach the outputs of {generator} in its "
        "loss",
        source="Goodfellow et al., Generative Adversarial Nets, 2014, algorithm 1; read off the steps",
    )


def of_one(critic: str, generator: str) -> Finding:
    """One optimizer for a generator and its discriminator, which steps for the losses of both."""
    return Finding(
        rule="foreign_optimizer",
        code="foreign_optimizer.opponent",
        severity="warning",
        seen=f"one optimizer holds the parameters of {critic} and {generator}, and steps for two losses that want opposite "
        f"outputs of {critic}, with gradients for the same parameters",
        measurements=(Measurement(name="losses that move the same parameters", value=2.0, threshold=1.0),),
        cause=f"the parameters of both models are in one optimizer: one loss undoes what {critic} learns from the other",
        remedy=f"one optimizer for {critic} and another for {generator}, each with its own model's parameters; and detach the "
        f"outputs of {generator} in the loss of {critic}",
        source="Goodfellow et al., Generative Adversarial Nets, 2014, algorithm 1; read off the steps",
    )


def of_the_same(num_shared: int, num_left: int) -> Finding:
    """Two optimizers for one network, and none for another."""
    return Finding(
        rule="foreign_optimizer",
        code="foreign_optimizer.twice",
        severity="error",
        seen=f"two optimizers step the same {num_shared} parameters, and {num_left} others that get a gradient from the loss "
        "are in no optimizer",
        measurements=(
            Measurement(name="parameters in two optimizers", value=float(num_shared), threshold=0.0),
            Measurement(name="parameters with a gradient in none", value=float(num_left), threshold=0.0),
        ),
        cause="one of the optimizers was given another network's parameters",
        remedy="give each optimizer the parameters of its own network: Adam(generator.parameters(), ...), "
        "Adam(critic.parameters(), ...)",
        source="own; counted in the groups of the optimizers",
    )


def of_another(settings: OptimizerSettings) -> Finding:
    """An optimizer with another network's parameters; the network is named where the program has a name for it."""
    anew, holds = f"torch.optim.{settings.name}(model.parameters(), lr={settings.lr:g})", settings.holds
    return Finding(
        rule="foreign_optimizer",
        severity="error",
        seen=f"the {settings.name} optimizer holds none of the model's parameters that are not frozen "
        f"({', '.join(settings.unmanaged[:_MOST_NAMED])}{', ...' if len(settings.unmanaged) > _MOST_NAMED else ''})"
        + (f": those that it holds are of {holds}" if holds else ""),
        measurements=(
            Measurement(name="the model's parameters in the optimizer", value=0.0, threshold=1.0),
            Measurement(name="trainable parameters", value=float(len(settings.unmanaged))),
        ),
        cause=f"the optimizer was given the parameters of {holds}, but the loss is computed by another network"
        if holds
        else "the model, or the part of it that trains, was built, copied or replaced after the optimizer was made",
        remedy=f"give it the parameters of the network that computes the loss, instead of those of {holds}: {anew}"
        if holds
        else f"make the optimizer after the last change to the model: {anew}",
        source="PyTorch, torch.optim",
        layers=settings.unmanaged,
    )


def of_the_last(name: str | None, lr: float | None, num_others: int) -> Finding:
    """An optimizer of the network that the loop trained before it went on with another."""
    anew = f"torch.optim.{name}(model.parameters(), lr={lr:g})" if name and lr is not None else "type(optimizer)(...)"
    return Finding(
        rule="foreign_optimizer",
        code="foreign_optimizer.last",
        severity="error",
        seen=f"the loss depends on {num_others} parameters that no optimizer holds, and not on the watched model; the "
        "optimizer that steps then has no gradient at all",
        measurements=(
            Measurement(name="parameters that the loss depends on, in an optimizer", value=0.0, threshold=1.0),
            Measurement(name="parameters that the loss depends on", value=float(num_others)),
        ),
        cause="the loop goes on with another network (loaded, copied or built again), and its optimizer still holds the "
        "parameters of the one before",
        remedy=f"make the optimizer anew, of the network that computes the loss: {anew}",
        source="PyTorch, torch.optim; read from the graph of the loss",
    )


def of_one_in_vain(num_steps: int) -> Finding:
    """A script that steps an optimizer without gradients, and not the one whose parameters get them."""
    return Finding(
        rule="foreign_optimizer",
        code="foreign_optimizer.in_vain",
        severity="error",
        seen=f"{num_steps:,} steps were made by an optimizer whose parameters never had a gradient, and none by the one whose "
        "parameters get them",
        measurements=(
            Measurement(name="steps with a gradient", value=0.0, threshold=1.0),
            Measurement(name="steps without any", value=float(num_steps), threshold=0.0),
        ),
        cause="the loop steps the optimizer of another network (a copy, an average, the model before it was replaced)",
        remedy="step the optimizer of the network that computes the loss",
        source="PyTorch, torch.optim; own count",
    )
