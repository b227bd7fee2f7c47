"""The label of what a stack puts into the cluster, put into its manifest."""

from __future__ import annotations

from functools import lru_cache

import yaml

from kubestage.kubernetes import STACK_LABEL


@lru_cache(maxsize=64)
def labelled(manifest: str, stack: str) -> str:
    """`manifest` (YAML) with the stack's label in each document's metadata; the rest of the text stays as it is.

    In an object's own metadata alone: selectors and pod templates go without, so no pod is made anew for it.
    """
    text = manifest
    for root in reversed(list(yaml.compose_all(manifest, Loader=yaml.CSafeLoader))):
        if isinstance(root, yaml.MappingNode):  # what holds comments alone is no document
            metadata = _mapping(root, "metadata")
            assert metadata is not None, f"stack {stack}: an object without metadata: {root.start_mark}"
            labels = _mapping(metadata, "labels")
            if labels is None:
                text = _with_first(text, metadata, f'labels: {{{STACK_LABEL}: "{stack}"}}')
            else:
                text = _with_first(text, labels, f'{STACK_LABEL}: "{stack}"')
    return text


def _mapping(node: yaml.MappingNode, key: str) -> yaml.MappingNode | None:
    found = (value for name, value in node.value if name.value == key)
    return next((value for value in found if isinstance(value, yaml.MappingNode)), None)


def _with_first(text: str, mapping: yaml.MappingNode, entry: str) -> str:
    """`text` with the entry as the first of the mapping, which is read from it."""
    at = mapping.start_mark.index
    if mapping.flow_style:
        return f"{text[: at + 1]}{entry}, {text[at + 1 :]}"
    return f"{text[:at]}{entry}\n{' ' * mapping.start_mark.column}{text[at:]}"
