"""Numbers that differ between ranks, as text: what may be read by people, and what names something.

`print(f"rank {rank}")` shows all ranks' values. That a text came from such a number is seen by its form,
which holds through formatting, joining and paths. Where it names a file, is taken for a key, is compared
or taken apart, and ranks would not agree on what comes of it, it is an error.
"""
