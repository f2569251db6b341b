"""What is done in the background: what is still held under an ended flood hold is released."""

from integrations.infra.background import Background
from integrations.routing.flood_hold import release_leftovers

BACKGROUND = Background(each_watch=(release_leftovers,))
