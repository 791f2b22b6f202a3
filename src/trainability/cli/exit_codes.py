"""What a command's exit code says; 0 is success."""

FAILED = 1
USER_ERROR = 2
INTERRUPTED = 130
