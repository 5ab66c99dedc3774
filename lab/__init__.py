"""The guide's environment in miniature: a world of plain data, servers on loopback that show it, faults to break it."""
