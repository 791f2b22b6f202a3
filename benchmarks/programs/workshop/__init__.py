"""Programs as people bring them to a workshop, one file per topic; their authors had not read the rules."""
