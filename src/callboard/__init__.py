"""Durable, local-first orchestration for AI work."""
