"""What a testee is asked and how its answer is judged: cases, their data, their judges."""
