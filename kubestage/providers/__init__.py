"""Who owns the machines."""

from pyinfra.api.exceptions import PyinfraError


class ProviderError(PyinfraError):
    """What a provider can't do; the message is for a person, and pyinfra prints it without a traceback."""
