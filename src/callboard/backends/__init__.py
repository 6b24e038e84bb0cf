"""Where executors run: this process, or warm children. A backend carries out a `Work` and brings back a `Done`."""
