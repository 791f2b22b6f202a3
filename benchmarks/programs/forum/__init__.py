"""Programs as forum threads have them, one file per topic; their author had not read the rules."""
