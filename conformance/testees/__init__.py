"""Testees of every kind, and the one function that makes one from what a user types."""

from conformance.testees.base import (
    OPERATIONS,
    Declaration,
    NoReply,
    Outputs,
    Refused,
    Reply,
    Skipped,
    Testee,
    Unsupported,
    declared,
)

__all__ = [
    "OPERATIONS",
    "Declaration",
    "NoReply",
    "Outputs",
    "Refused",
    "Reply",
    "Skipped",
    "Testee",
    "Unsupported",
    "declared",
]
