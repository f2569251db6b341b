"""What the portal stands on: HTTP, encryption, Redis, the queue, the clock. It knows nothing of posts or tickets."""
