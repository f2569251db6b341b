"""The portal itself as a source: its alarms, so that they go out by mappings and connections like any other event."""
