"""What keeps `polis up` from working on this machine: found before it is met, each with the command that mends it."""
