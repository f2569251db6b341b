"""Posts, templates and expressions: plain values and pure functions that sources and destinations share."""
