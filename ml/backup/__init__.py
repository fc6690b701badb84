"""Backups of the platform: what they hold, how one is made, and how an empty platform is restored from one."""
