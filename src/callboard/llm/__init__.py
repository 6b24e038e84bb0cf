"""Asking language models: one provider family per file, and a model of our own that needs no network.

The room offers one thing, `gateway.Gateway`, which implements `ports.Model`. It chooses who answers, keeps the
limits, checks what came back and counts the money. Retrying is not done here: the engine knows the task's policy,
its budget and its patience, and two layers that both retry multiply the calls and the bill.
"""
