"""How fast it is, as ratios within one run (docs/performance.md). Run as ``python -m bench``, or ``make bench``."""
