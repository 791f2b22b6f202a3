"""How a script is asked to stop."""


class Enough(SystemExit):
    """The steps that were asked for are done; `finally` blocks run, and the exit code is 0."""

    def __init__(self) -> None:
        super().__init__(0)
