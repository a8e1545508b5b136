"""Will it fit: runs a program as one rank of a large world on a GPU without bytes, and says what it
takes of the GPU's memory.

docs/forecast.md says what is modelled and what is not.
"""
