"""What a compile did, as data for whoever shows it."""

from ttmlc.report.summary import BlockSummary, Summary, summarise

__all__ = ["BlockSummary", "Summary", "summarise"]
