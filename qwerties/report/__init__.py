"""A store -> one offline HTML page, its figures, tables and verdicts.

Public: `build.write_report`, `build.is_current`. The page is made without torch and writes nothing to the runs it
reads.
"""
