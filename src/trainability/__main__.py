"""`python -m trainability`, which is how `torchrun` starts it."""

from trainability.cli.program import main

main()
