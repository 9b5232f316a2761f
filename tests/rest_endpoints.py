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
    ("GET", "/stats"),
    ("GET", "/clients"),
    ("GET", "/channels"),
    ("POST", "/disconnect"),
    ("GET", "/settings"),
    ("POST", "/enable/preview"),
    ("POST", "/disable/preview"),
]
FOR_ALL = ("/status", "/presence")  # the others are for the service alone
