"""What every room needs of the machine: the terminal, files, private folders, processes, memory.

- `terminal`: text from files is shown as text: nobody's escape sequences act.
- `atomic`: a file is written whole or not at all.
- `private`: whether a folder is ours alone: from no other one is code loaded.
- `isolated`: a child process with limits.
- `amx`: whether this process may use the tiles of AMX.
- `memory`: how much memory one run may take.
- `patience`: how long one step of a library may take.
"""
