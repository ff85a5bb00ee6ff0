"""Where a workspace's logs are, and how they are read: nothing in them is trusted, whoever wrote it."""
