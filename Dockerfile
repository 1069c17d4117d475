# syntax=docker/dockerfile:1
# The server in a container, as two targets; cpu is the default.
#   docker build --target cpu -t kogemma-rag:cpu .
#   docker build --target gpu -t kogemma-rag:gpu .
# Documents, indexes and weights are mounted at run time; none of them is in the image.

FROM python:3.12-slim-bookworm AS source
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/kogemma-rag
ENV PATH=/opt/kogemma-rag/bin:$PATH
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY kogemma_rag kogemma_rag

FROM source AS cpu-packages
# The index of PyTorch has builds without CUDA, which are a tenth of the size.
RUN pip install -c constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu \
    '.[cpu,serve,pgvector]'

FROM source AS gpu-packages
RUN pip install -c constraints.txt '.[gpu,serve,pgvector]'

FROM python:3.12-slim-bookworm AS runtime
RUN useradd --uid 10001 --create-home kogemma && install -d -o kogemma -g kogemma /data
ENV PATH=/opt/kogemma-rag/bin:$PATH PYTHONUNBUFFERED=1 HF_HOME=/data/hub
USER 10001
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["kogemma-rag"]
# Set KOGEMMA_TOKEN; without it a token is made anew at each start and written to stderr.
CMD ["serve", "--in", "/data/index", "--host", "0.0.0.0", "--allowed-host", "localhost"]

FROM runtime AS gpu
# Decode steps are compiled where they run: by a C compiler, into a folder that programs load from.
USER 0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
USER 10001
ENV TORCHINDUCTOR_CACHE_DIR=/data/compiled TRITON_CACHE_DIR=/data/compiled/triton
COPY --from=gpu-packages /opt/kogemma-rag /opt/kogemma-rag

FROM runtime AS cpu
COPY --from=cpu-packages /opt/kogemma-rag /opt/kogemma-rag
