"""Programs that another author wrote, by kind of task; scored whole once, then by halves twice, and set on since."""
