"""The database says what has changed, the application who and why (docs/adr/0016).

triggers postgresql sqlite    triggers stage images of rows in `audit_change`
hooks opentransaction         who wrote what, and the drain before COMMIT
drain telling objects         staged rows become changes of objects
linkruns                      and links of them
writer recording              changes become audit rows
leftovers                     what nobody drained
journal transactions          what is announced when the outermost transaction has committed
audited links subjects        which tables are audited, and what is told of their rows
"""

from __future__ import annotations
