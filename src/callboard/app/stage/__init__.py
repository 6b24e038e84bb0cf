"""The stage: for each face, the names that act. They compile, submit and wait; the rules are all below."""
