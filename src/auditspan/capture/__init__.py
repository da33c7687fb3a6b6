"""Everything that is written through SQLAlchemy, seen and told, or refused.

flushes      the unit of work: hooks on mappers and sessions
statements   everything else: hooks on connections and engines
inserts updates cascades   what a statement is about, before and after it
texts guard unaudited      SQL as text, and the way round
audited links                what is told of a table's rows (a `Subject`, see `pictures`)
rows pictures                the rows of a statement before and after it
writer                       changes become rows of the audit table
journal transactions         what is announced when the outermost transaction has committed
"""

from __future__ import annotations
