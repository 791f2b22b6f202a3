"""The scored half: programs of an author who had not read the rules, by kind of task; no rule or threshold is set on them."""
