"""A dose-response over seeds: the arms in a table, their curves, the factors between losses, and all of it in words."""
