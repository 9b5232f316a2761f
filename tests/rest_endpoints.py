"""The endpoints of REST as the contract lists them: what the code serves is compared with this."""

from __future__ import annotations

ENDPOINTS = [
    ("POST", "/enable"),
    ("POST", "/disable"),
    ("GET", "/status"),
    ("GET", "/tables"),
    ("GET", "/presence"),
    ("GET", "/connections"),
    ("POST", "/broadcast"),
]
FOR_ALL = ("/status", "/presence")  # the others are for the service alone
