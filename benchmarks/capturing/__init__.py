"""Cost of capture beside no audit, a hand-written floor and other libraries.

workloads           what is timed
subjects            who captures, each set up as its documentation has it
accounts setup      the model, and one subject's engine and sessions on it
worker remote       one subject in a process of its own, and the way to it
databases           a database for each of them
rounds results      who runs when; medians and ratios
goals report        what they are held against, and how it is told
"""

from __future__ import annotations
