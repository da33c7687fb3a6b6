"""A shop whose clerks change customers, and whose auditors look at the trail in its own pages."""

from __future__ import annotations

from apps.shop.app import Shop, make_shop
from apps.shop.models import Customer, Tag

__all__ = ["Customer", "Shop", "Tag", "make_shop"]
