"""A folder of videos to a table that can go on: python examples/many.py clips out.csv."""

import sys

from tsm_ref.batch import Recipe, Targets, clips_of, run_batch

if __name__ == "__main__":  # the two workers are processes that read this file, too
    recipe = Recipe(model="camera-motion")
    clips = clips_of([sys.argv[1]])
    for outcome in run_batch(recipe, clips, Targets(csv=sys.argv[2]), workers=2, resume=True):
        print(outcome.path, outcome.error or outcome.result["predictions"][0]["label"])
