"""Recognition over HTTP and WebSocket: files in, JSON out; frames in, events out.

::

    settings    how much of everything is allowed
    models      what is served: each model loaded once, and what a request may ask of it
    problems    errors as HTTP answers, in one form of JSON (RFC 9457)
    uploads     a request's body to a private temporary file, within bounds of size and time
    work        a bounded queue, worker threads, work that can be called off
    helpers     the same work in processes that a file may break
    frames      what comes over a WebSocket as a source of frames; late ones are dropped
    streams     one WebSocket connection: one state, events as they come
    metrics     counts and times in the text form of Prometheus
    openapi     the description of all that
    page        the page at ``/``, whose rules forbid every script but its own
    guard       who may ask: names of this server, origins of pages, sizes of everything in front
    connections the HTTP protocol, for those who never finish a request
    app         the routes

It is Starlette without FastAPI, since the answers have a JSON schema of their own already and the
bodies are streams of bytes: there is nothing for models of arguments to check. Nothing is imported
here, so that the command line can say which package is missing.
"""
