# Nothing of it can be seen from Python: it is cimported by the other stages.
