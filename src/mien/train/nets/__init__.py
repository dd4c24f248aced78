"""Networks, each a short documented function in one registry."""
