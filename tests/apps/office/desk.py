"""What is done in the back office."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from sqlalchemy import Engine, event, insert, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from apps.office.models import (
    Base,
    Category,
    Customer,
    Employee,
    Line,
    Order,
    Party,
    Product,
    State,
    product_category,
)


class CreditError(Exception):
    """The customer would owe too much."""


class Desk:
    """The use cases on one database."""

    def __init__(self, engine: Engine) -> None:
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _with_foreign_keys)
        self.engine = engine
        self.sessions: sessionmaker[Session] = sessionmaker(engine)

    def create_tables(self) -> None:
        """Make the tables."""
        Base.metadata.create_all(self.engine)

    def import_products(self, prices: Mapping[str, str]) -> None:
        """Read a price list, all products in one statement."""
        with self.sessions.begin() as session:
            rows = [{"code": code, "price": Decimal(price)} for code, price in prices.items()]
            session.execute(insert(Product), rows)

    def categorize(self, code: str, names: Iterable[str]) -> None:
        """Put a product into these categories and no others."""
        with self.sessions.begin() as session:
            product = session.scalars(select(Product).filter_by(code=code)).one()
            known = {one.name: one for one in session.scalars(select(Category))}
            product.categories = {known.get(name) or Category(name=name) for name in names}

    def merge_categories(self, gone: str, kept: str) -> None:
        """Move all products from one category to another, by SQL."""
        with self.sessions.begin() as session:
            names = {"gone": gone, "kept": kept}
            session.execute(text(MOVE_LINKS), names)
            session.execute(text(DROP_LINKS), names)
            session.execute(text("DELETE FROM category WHERE name = :gone"), names)

    def categories(self, code: str) -> set[str]:
        """The categories of a product."""
        with self.sessions() as session:
            product = session.scalars(select(Product).filter_by(code=code)).one()
            return {category.name for category in product.categories}

    def hire(self, name: str, salary: str | None, boss: int | None = None) -> int:
        """A new employee."""
        with self.sessions.begin() as session:
            employee = Employee(name=name, salary=salary and Decimal(salary))
            session.add(employee)
            if boss is not None:
                above = session.get_one(Employee, boss)
                above.reports.append(employee)
            session.flush()
            return employee.id

    def dismiss(self, employee: int) -> None:
        """An employee goes; who reported to them reports to nobody."""
        with self.sessions.begin() as session:
            session.delete(session.get_one(Employee, employee))

    def raise_salaries(self, percent: str) -> None:
        """Raise all salaries by a statement."""
        with self.sessions.begin() as session:
            factor = 1 + Decimal(percent) / 100
            raised = update(Employee).values(salary=Employee.salary * factor)
            session.execute(raised.execution_options(synchronize_session=False))

    def add_customer(self, name: str, notes: str | None = None) -> int:
        """A new customer, with notes that nobody may read in the table."""
        with self.sessions.begin() as session:
            customer = Customer(name=name, notes=notes)
            session.add(customer)
            session.flush()
            return customer.id

    def note(self, party: int, notes: str | None) -> None:
        """Change the notes about somebody."""
        with self.sessions.begin() as session:
            session.get_one(Party, party).notes = notes

    def notes(self, party: int) -> str | None:
        """The notes about somebody."""
        with self.sessions() as session:
            return session.get_one(Party, party).notes

    def order(self, customer: int, quantities: Mapping[str, int]) -> int:
        """Place an order.

        Raises:
            CreditError: it costs too much.
        """
        with self.sessions.begin() as session:
            order = Order(customer=session.get_one(Customer, customer))
            session.add(order)
            for code, quantity in quantities.items():
                product = session.scalars(select(Product).filter_by(code=code)).one()
                order.lines.append(Line(product=product, quantity=quantity, price=product.price))
                product.stock -= quantity
            session.flush()
            self._charge(session, order)
            return order.id

    def change(self, order: int, code: str, quantity: int) -> None:
        """Change how many of a product an order has; none takes the line away."""
        with self.sessions.begin() as session:
            found = session.get_one(Order, order)
            line = next(one for one in found.lines if one.product.code == code)
            line.product.stock += line.quantity - quantity
            line.quantity = quantity
            if not quantity:
                found.lines.remove(line)
            session.flush()
            self._charge(session, found)

    def ship_all(self) -> int:
        """Ship what has been placed; how many orders."""
        with self.sessions.begin() as session:
            placed = update(Order).where(Order.state == State.PLACED)
            shipped = placed.values(state=State.SHIPPED, version=Order.version + 1)
            return len(session.scalars(shipped.returning(Order.id)).all())

    def cancel(self, order: int) -> None:
        """Delete an order with its lines."""
        with self.sessions.begin() as session:
            session.delete(session.get_one(Order, order))

    def correct_prices(self, percent: str) -> None:
        """Raise the prices by the driver's own SQL, half a percent at a time."""
        with self.engine.begin() as connection:
            for _ in range(2):
                connection.exec_driver_sql(
                    "UPDATE product SET price = round(CAST(price AS NUMERIC)"  # noqa: S608
                    f" * (1 + {Decimal(percent) / 200}), 2)"
                )

    def prices(self) -> dict[str, Decimal]:
        """The price list."""
        with self.sessions() as session:
            return {one.code: one.price for one in session.scalars(select(Product))}

    def show(self, order: int) -> tuple[State, Decimal, dict[str, int]]:
        """The state, the total and the lines of an order."""
        with self.sessions() as session:
            found = session.get_one(Order, order)
            lines = {line.product.code: line.quantity for line in found.lines}
            return found.state, found.total, lines

    def staff(self) -> dict[str, tuple[Decimal | None, int | None]]:
        """The salary and the boss of each employee."""
        with self.sessions() as session:
            found = session.scalars(select(Employee))
            return {one.name: (one.salary, one.boss_id) for one in found}

    def unlink_all(self) -> None:
        """Take every product out of every category, by Core."""
        with self.engine.begin() as connection:
            connection.execute(product_category.delete())

    def _charge(self, session: Session, order: Order) -> None:
        order.state = State.PLACED
        order.total = sum((line.price * line.quantity for line in order.lines), Decimal(0))
        with session.begin_nested():
            order.customer.credit = Customer.credit - order.total
            session.flush()
            if order.customer.credit < 0:
                raise CreditError


MOVE_LINKS = """
INSERT INTO product_category (product_id, category_id)
SELECT product_id, (SELECT id FROM category WHERE name = :kept) FROM product_category
WHERE category_id = (SELECT id FROM category WHERE name = :gone) AND product_id NOT IN (
    SELECT product_id FROM product_category
    WHERE category_id = (SELECT id FROM category WHERE name = :kept))
"""
DROP_LINKS = """
DELETE FROM product_category WHERE category_id = (SELECT id FROM category WHERE name = :gone)
"""


def _with_foreign_keys(connection: object, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys = ON")  # type: ignore[attr-defined]
