"""The faces: how work is said. Each has a language, checked with the place of every fault, and a compiler to a Plan.

Faces are strangers to each other and to the disk: text or objects come in as values, a frozen plan goes out.
"""
