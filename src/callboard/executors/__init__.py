"""How one task is carried out: one kind of executor per file, and one cross-cutting feature per file in `middleware/`.

Executors know nothing of the machine, the store or a vendor's gateway: all they may use is the `ctx` that wiring
filled for this attempt. Whether and when a task runs is decided elsewhere; here stands only how.
"""
