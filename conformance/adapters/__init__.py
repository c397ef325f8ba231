"""Public implementations as testees, through thin adapters of our own.

None of their code is here: whoever runs an adapter fetches the implementation first (`table` says
from where), and their code runs in a process of its own.

- `table`: which implementations, their licences and conventions, and what a difference means
- `taking`: one class out of a file, so that the rest of a project need not be installed
- `pytorch`, `recognizers`, `online`, `frameworks`: the adapters
- `results`: all of them judged, as the page `RESULTS.md`
- ``python -m conformance.adapters FOLDER`` makes that page from the checkouts in a folder
"""
