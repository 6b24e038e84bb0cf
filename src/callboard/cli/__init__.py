"""The command line: one verb a file. Results on stdout, everything else on stderr; no rule lives here."""
