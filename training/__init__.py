"""What learns: tasks, what is asked of them, and who asks."""
