"""What the dashboard shows of a task and no page has the time to reckon: documents that workers keep.

`documents` has their shapes, `kept` reads and writes them, `keep` makes them all.
"""
