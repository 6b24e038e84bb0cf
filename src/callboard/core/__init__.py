"""The machine: values in, values out.

Nothing here knows the time, a disk, a thread or a random number. What is true of a run next year follows
from the plan and the facts alone, so every file of this room can be tested with nothing but values.
"""
