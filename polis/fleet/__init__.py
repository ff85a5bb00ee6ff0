"""Many workspaces at once: each by itself, exactly as a single command would have it, and side by side."""
