"""The platform in containers: an engine to run them, their images, Compose, and the smoke test of all of it."""
