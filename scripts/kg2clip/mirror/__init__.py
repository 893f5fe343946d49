"""The embedded mirror: real protocols and real code against far ends of our own, on loopback (design 5)."""
