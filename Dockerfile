# The images of the services; compose.yaml says which runs what. The target `trainer` has torch besides.
FROM python:3.12-slim AS service

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# bubblewrap isolates code that a model wrote when a check of kind `python` runs it.
RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --system --uid 10001 --create-home stepdown \
    && install -d -o stepdown -g stepdown /var/lib/stepdown /etc/stepdown

WORKDIR /opt/stepdown

# One lock for all: every file is checked against its hash, development tools included.
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock

COPY pyproject.toml hatch_build.py README.md LICENSE CHANGELOG.md ./
COPY stepdown stepdown
COPY router router
COPY evals evals
COPY distill distill
COPY workers workers
COPY dashboards dashboards
RUN pip install --no-deps --no-build-isolation .

RUN install -d -o stepdown -g stepdown /var/lib/stepdown/students

USER stepdown
WORKDIR /var/lib/stepdown

# Not built or run on a GPU yet.
FROM service AS trainer
USER root
WORKDIR /opt/stepdown
RUN pip install --no-build-isolation ".[distill]" && install -d -o stepdown -g stepdown /models
USER stepdown
WORKDIR /var/lib/stepdown

# What is built where no target is named.
FROM service
ENV STEPDOWN_HOME=/var/lib/stepdown
VOLUME /var/lib/stepdown
EXPOSE 4000 4001

HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:4000/readyz', timeout=3)"]

CMD ["stepdown", "proxy"]
