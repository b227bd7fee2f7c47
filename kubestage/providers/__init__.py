"""Who owns the machines."""

from dataclasses import dataclass

from pyinfra.api.exceptions import PyinfraError


class ProviderError(PyinfraError):
    """What a provider can't do; the message is for a person, and pyinfra prints it without a traceback."""


@dataclass(frozen=True)
class Description:
    """`what`: the machine, and what is lost when its disk is replaced. `locked`: why that can't be, or ""."""

    what: str
    locked: str = ""
