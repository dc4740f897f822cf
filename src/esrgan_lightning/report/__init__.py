"""What runs did, side by side: a table, curves, crops."""

from esrgan_lightning.report.page import report_page
from esrgan_lightning.report.runs import Run, csv_table, find_runs, markdown_table

__all__ = ["Run", "csv_table", "find_runs", "markdown_table", "report_page"]
