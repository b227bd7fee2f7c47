"""PersistentVolume objects, as the API has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def nodes_of(spec: Mapping[str, Any]) -> list[str]:
    """The names of the nodes that alone can have the volume of this spec; none of one that any node can have."""
    terms = spec.get("nodeAffinity", {}).get("required", {}).get("nodeSelectorTerms", ())
    return [value for term in terms for each in term.get("matchExpressions", ()) for value in each.get("values", ())]
