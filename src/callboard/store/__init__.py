"""The store room: where runs are recorded, in memory or in one SQLite file, and where bytes and documents lie.

`memory.py` and `sql/` stand behind the same two ports, `Store` and `Records`, and pass the same kit
(`callboard.testing.kits.store`). `content.py` keeps bytes by their hash, `publish.py` puts documents in place.
No file of this room decides anything about a run: it records what the machine decided, whole or not at all.
"""
