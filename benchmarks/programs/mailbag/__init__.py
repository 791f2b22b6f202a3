"""Programs as people write of them when they ask why a training fails; their authors had not read the rules."""
