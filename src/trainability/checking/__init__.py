"""The front door: one call that looks at a whole training, before its first step."""
