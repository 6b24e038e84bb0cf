"""Stores that speak SQL: SQLite here, PostgreSQL later behind the same port and the same kit."""
