"""What the collector masks: keys that name a secret, values that are one.

The flows and the bridge have nets of their own; these expressions are for
Go, and for what anybody else sends to the collector.
"""

from __future__ import annotations

BLOCKED_KEYS = (
    r"(?i)(^|[._-])(password|passwd|secret|authorization|cookie|credentials?)$",
    r"(?i)(^|[._-])(api[._-]?key|private[._-]?key|access[._-]?key)$",
    # Not every `token`: numbers of a model's tokens are measurements.
    r"(?i)(^|[._-])((access|auth|refresh|id|session|bearer)[._-]?token|token)$",
)

BLOCKED_VALUES = (
    r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{16,}",
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    r"\b(AKIA|ASIA)[0-9A-Z]{16}\b",
    r"\b(ghp|gho|ghs|ghu|github_pat|glpat|xox[abprs]|pnu|pnb|sk|hf)[_-][A-Za-z0-9_-]{16,}",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    # The password in an address.
    r"(?i)\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]+@",
)
