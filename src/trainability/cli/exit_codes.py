"""Exit codes of the commands; 0 is success."""

FAILED = 1
USER_ERROR = 2
INTERRUPTED = 130
