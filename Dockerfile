# The server, and the batch: `docker build -t tsm-ref .`, then
#   docker run --rm -p 127.0.0.1:8000:8000 tsm-ref
#   docker run --rm -v "$PWD:/data" tsm-ref infer clips/ --output-dir out
ARG PYTHON=3.13

# hadolint ignore=DL3006
FROM python:${PYTHON}-slim AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE tsm_conformance_plugin.py ./
COPY tsm_ref tsm_ref
COPY conformance conformance
COPY weights weights
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

# hadolint ignore=DL3006
FROM python:${PYTHON}-slim AS installed
COPY --from=wheel /wheels /wheels
RUN python -m venv /opt/tsm \
    && /opt/tsm/bin/pip install --no-cache-dir "$(echo /wheels/*.whl)[serve,film,distributed]"

# hadolint ignore=DL3006
FROM python:${PYTHON}-slim
RUN useradd --uid 10001 --create-home tsm && mkdir /data && chown tsm /data
COPY --from=installed /opt/tsm /opt/tsm
ENV PATH=/opt/tsm/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
# Kernels for the machine that builds; another processor compiles its own when it starts.
RUN python -m tsm_ref.warmup
WORKDIR /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=90s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["tsm"]
# Everybody who reaches the port may ask, so files are read in processes that may be lost.
CMD ["serve", "--host", "0.0.0.0", "--isolate"]
