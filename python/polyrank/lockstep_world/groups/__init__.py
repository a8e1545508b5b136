"""Process groups and meshes in lockstep: who is in them, and functions that decide by their own rank."""
