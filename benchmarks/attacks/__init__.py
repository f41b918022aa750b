"""Attacks on a server in a process of its own, and what they cost it and its other clients."""
