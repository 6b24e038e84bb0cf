"""Pipeline files: an ordered list of steps in YAML, compiled to a chain, or to a graph where steps name their needs."""
