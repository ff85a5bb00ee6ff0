"""Everything a workspace needs in one file, for a VM with no way out: made by one polis, used by another."""
