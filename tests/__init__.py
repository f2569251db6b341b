"""From captured payload to bytes on the wire."""
