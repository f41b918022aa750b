"""`python -m benchmarks`: the command line, and nothing else."""

import sys

from benchmarks.run import main

sys.exit(main())
