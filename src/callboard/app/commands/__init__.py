"""Commands: one verb a file. A command writes a fact; it never changes a run by itself."""
