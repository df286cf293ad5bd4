"""With MINICDN_FROZEN in the environment, values are frozen by force: whoever assigns to one fails (minicdn/core/value.py)."""

from __future__ import annotations

import os

from minicdn.core import value

if os.environ.get("MINICDN_FROZEN"):  # before anything is imported that has values
    value.value_class = value.frozen_class
