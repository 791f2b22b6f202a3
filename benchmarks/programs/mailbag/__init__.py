"""Programs as people write of them to a mailing list, one file per topic; their authors had not read the rules."""
