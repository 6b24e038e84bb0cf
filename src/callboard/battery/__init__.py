"""What proves the promise: the program is killed, frozen, starved and deceived, and has to keep every sentence.

It is a part of the product, not of its tests: `callboard prove` runs it on the user's own disk, CI runs the same
code. One way of doing harm per file, each with one function that takes a `Proving` (where, which seed, how much) and
returns what it `Found`; `proofs.py` is the list of them. What a proof needs from a disk that lies or a clock that
jumps is in `testing`.
"""
