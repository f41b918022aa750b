"""`python -m firefly_ws`: the same as the command `firefly-ws`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main(prog="python -m firefly_ws"))
