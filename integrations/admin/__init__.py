"""What staff see. No logic lives here: pages show what the models hold, and actions call the journey's own services."""

from integrations.admin import configuration, log, others

__all__ = ["configuration", "log", "others"]
