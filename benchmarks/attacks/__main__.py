"""`python -m benchmarks.attacks`: the command line, and nothing else."""

import sys

from benchmarks.attacks.run import main

sys.exit(main())
