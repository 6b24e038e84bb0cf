"""What the offline model knows of reading: words, sentences, what matters among them, and what a prompt asks for.

Pure: the same text gives the same answer next year and in every process, so nothing here may depend on the order of
a set, on a clock or on chance. Nothing is invented either. Everything that is said about a text stands in it, or is
a label, a number or a form that the request itself has given.
"""
