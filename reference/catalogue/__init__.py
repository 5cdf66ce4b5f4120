"""The scenarios that ship, one TOML file each."""
