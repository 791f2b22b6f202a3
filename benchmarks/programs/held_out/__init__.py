"""The scored half: programs that no rule or threshold is set on, by kind of task."""
