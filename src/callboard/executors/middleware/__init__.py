"""One cross-cutting feature per file: each gets the work, the context and the next handler. Their order is wiring's."""
