"""The probes that ship, one file a framework."""
