"""Mails: what they say (`notice`), how they look (`render`, templates), and how they travel (`message`)."""
