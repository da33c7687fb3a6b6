"""Payments, which clerks book at the same time: asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

from apps.billing.models import AlreadyPaidError, Base, Invoice
from auditspan import Actor, AuditTrail, audit_context


class Payments:
    """The use cases on one database; `trail_options` are those of `AuditTrail`."""

    def __init__(self, engine: AsyncEngine, **trail_options: Any) -> None:
        self.engine = engine
        self.sessions = async_sessionmaker(engine)
        self.trail = AuditTrail(self.sessions, metadata=Base.metadata, **trail_options)

    async def book_all(self, by_clerk: Mapping[int, list[int]]) -> list[bool]:
        """Every clerk books the payments of their invoices; which of the clerks got through."""
        return await asyncio.gather(*(self._book(one, ids) for one, ids in by_clerk.items()))

    async def _book(self, clerk: int, invoices: list[int]) -> bool:
        try:
            with audit_context(actor=Actor.user(clerk)):
                async with self.sessions.begin() as session:
                    for invoice_id in invoices:
                        invoice = await session.get_one(Invoice, invoice_id, with_for_update=True)
                        await asyncio.sleep(0)  # another clerk's turn
                        invoice.pay()
                        await session.flush()
        except AlreadyPaidError:
            return False
        return True
