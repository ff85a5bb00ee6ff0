"""Pictures as files: the timeline of a command, the state machine. Only the standard library, no scripts, no links."""
