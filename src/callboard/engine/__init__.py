"""The engine: load → step → commit → dispatch, with timers, leases and recovery.

It knows the core and the ports; stores and backends come in through its constructor. See `engine.py`.
"""
