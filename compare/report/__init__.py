"""The ledger as one HTML page that needs nothing but a browser, and the schema of ledger.json."""

from .page import report, write_report

__all__ = ["report", "write_report"]
