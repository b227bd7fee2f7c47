"""Merge what a setting adds into a configuration of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merged(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `extra` put in: mappings are merged key by key, anything else in `extra` replaces what `base` has."""
    result = dict(base)
    for key, value in extra.items():
        ours = result.get(key)
        result[key] = merged(ours, value) if isinstance(ours, Mapping) and isinstance(value, Mapping) else value
    return result
