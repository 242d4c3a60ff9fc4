"""The miniature frontier: all methods and their controls on a task that two cores can afford."""
