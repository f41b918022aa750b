"""Fuzzers of the wire, of texts and of a connection's life; ``python -m tests.fuzz --minutes 5`` runs them for long."""
