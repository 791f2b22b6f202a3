"""An exception in one line. No torch."""


def error_line(error: BaseException) -> str:
    """Write an exception's type and the first line of its message."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
