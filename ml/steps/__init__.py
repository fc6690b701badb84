"""What each step of the lifecycle does: the one place where the rooms meet, a file a step."""
