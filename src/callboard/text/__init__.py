"""Text, pure: YAML with positions, templates over plain data, durations, names, JSON Schema, strict JSON.

Everything here reads what strangers wrote. The rule of the room: a value or one of our own errors, in bounded
time and memory, whatever comes in. No disk, no clock, no environment.
"""
