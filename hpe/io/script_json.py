"""JSON in the scripts of pages."""

from __future__ import annotations

import json
from typing import Any


def script_json(value: Any) -> str:
    """JSON that can stand inside a <script> element: no text in it can end the element. ValueError for a NaN."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
