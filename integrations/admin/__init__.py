"""What staff see. No logic lives here: pages show what the models hold, and actions call the journey's own services."""

from integrations.admin import companies, configuration, feeds, log, others, watching

__all__ = ["companies", "configuration", "feeds", "log", "others", "watching"]
