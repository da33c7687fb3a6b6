"""The command line: `python -m apps.billing DATABASE_URL init|add NAME FEE IBAN|bill MONTH`."""

from __future__ import annotations

import getpass
import sys
from decimal import Decimal

from apps.billing.database import open_engine
from apps.billing.job import Billing
from auditspan import Actor, audit_context


def main(url: str, command: str, *arguments: str) -> None:
    """Run a command as the person at the terminal."""
    billing = Billing(open_engine(url), mac_key=None)
    with audit_context(actor=Actor.user(getpass.getuser())):
        if command == "init":
            billing.create_tables()
        elif command == "add":
            name, fee, iban = arguments
            print(billing.add_customer(name, Decimal(fee), iban))  # noqa: T201 (its output)
        elif command == "bill":
            print(billing.bill_all(arguments[0]))  # noqa: T201 (its output)
        else:
            sys.exit(f"there is no command {command!r}")
    billing.engine.dispose()


if __name__ == "__main__":
    main(*sys.argv[1:])
