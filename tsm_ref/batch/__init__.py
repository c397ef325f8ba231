"""Many clips: which there are, who recognises them, and what is kept of a run that was cut off.

::

    lists      files, folders, patterns and lists of clips to `Clip`s
    recipe     what is done with each clip, so that another process can do the same
    journal    what is done already, on disk; a run that goes on from it does nothing twice
    workers    clips to outcomes, in this process or in several
    cluster    clips to outcomes on other machines, as tasks of Dask distributed
    features   what the head reads of each clip, and a folder that keeps it
    outputs    the files that a batch leaves: JSON, JSON Lines, CSV
    run        all of it together
    scores     outcomes beside the truth: accuracy, each class, who is taken for whom
    several    the same of several labels for a clip, and of several heads
    questions  what a list of labelled clips asks of a model: one label, several, or each head's
    fitting    a linear head for features of labelled clips, and how right it is
    screen     a batch on the screen: a line a clip, and how far it is
"""

from tsm_ref.batch.features import Extractor
from tsm_ref.batch.lists import Clip, clips_of, read_list
from tsm_ref.batch.recipe import Outcome, Recipe
from tsm_ref.batch.run import Targets, run_batch

__all__ = [
    "Clip",
    "Extractor",
    "Outcome",
    "Recipe",
    "Targets",
    "clips_of",
    "read_list",
    "run_batch",
]
