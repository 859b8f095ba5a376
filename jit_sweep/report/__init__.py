"""A sweep's report: its answer, verdicts, curves, pictures and costs, as a page, as Markdown and as JSON."""
