"""Programs as people write of them when they ask why a training fails, one file per topic; their authors had not read the rules."""
