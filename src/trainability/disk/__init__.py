"""Keep files intact: atomic replacement, checksums, and directories that only one process writes at a time."""
