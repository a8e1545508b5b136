"""`polyrank serve`: a process that has PyTorch warm, off which `polyrank run` is forked.

NOTE [Fork server]

A launcher of ranks that are processes takes seconds to import PyTorch and to warm it, and the same each time. So does the
one process of the other worlds, which is what "launcher" means here, too. A server has that behind it, and waits. The
command `polyrank run` asks it before it imports anything that takes time (`client.py`): it sends what a process gets from
whoever starts it (arguments, environment, open files, current directory, umask, limits, ignored signals), and the server
forks a process that takes it over (`takeover.py`) and is the launcher. The command stays in front of it: it passes signals on, and exits with its exit code.

What a process has from its start and can't be given must be the same for both (`situation.py`), or the command
runs alone: the interpreter and its options, user and privileges, and those variables of the
environment that something asked for while it was imported, which the server has noted (`asked_variables.py`).
So must the files that the server has loaded (`loaded_files.py`), and what it would load for the command: folders that
PYTHONPATH adds hold nothing that the server has looked for, found or not (`search_path.py`). Modules that the server was
told to import beforehand are for runs that say the same `--preload`.

Who ends when:

1. The launcher ends with the command, however that ends: the command holds the writing end of a pipe of which the
   launcher has made the kernel signal the end, SIGKILL to itself.
2. The ranks end with the launcher, as always.
3. The launcher does not need the server once it runs. The server, its parent, tells the command how
   it died, if it did.
4. The server ends when no run has been for a while, when a file that it has loaded changes, when it is told.

Before the command says "go", the launcher has done nothing. A server that does not answer in time is left alone:
no command is run twice.
"""
