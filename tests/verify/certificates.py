"""What a verification has seen of certificates, for the end of what it prints."""

from __future__ import annotations

import pytest

from kubestage.certificates.ending import Found

DAYS_LEFT = pytest.StashKey[dict[str, Found | str]]()  # host -> its certificates, once they were looked at
