"""The measurements of the paper on this machine: ``python -m tsm_ref.bench paper``.

::

    facts       what Lin, Gan, Han 2019 report: figure, table and section of every number
    rounds      calls that take turns, and the ratios within their rounds
    movement    what the shift costs: fused, copied, moved in place; residual against in-place
    online      whole clips against frame by frame: latency, memory, state
    cost        parameters, multiply-adds, latency and throughput of every network that we build
    moves       generated clips whose camera move is known, and early recognition of them
    plots       one picture for each measurement
    page        tables for the terminal, and the page with all of it beside the paper's numbers
    command     the options, the document, what is written

Whatever is compared is called in turn in one process, or in processes of its own in turn; only the
ratios within one run mean anything, here as everywhere in the benchmark.
"""
