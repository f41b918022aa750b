"""Puts this directory on the import path, so that tests share `judge` and `wire_cases`; knows no fixture."""
