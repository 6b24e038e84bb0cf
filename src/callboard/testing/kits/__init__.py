"""Conformance kits, one for each port: an adapter is right when it passes the kit of its port."""
