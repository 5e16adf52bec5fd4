# Prefect's server and worker, MLflow's server, the flows, and the stack's service. See docker-compose.yml.
FROM python:3.11-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends curl libgomp1 \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE settings.py service.py bentofile.yaml prefect.yaml requirements-service.txt ./
COPY deploy deploy
COPY models models
COPY serving serving
COPY web web
COPY tasks tasks
COPY flows flows
COPY sample sample
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation --editable .
RUN useradd --create-home --uid 1000 premiere && install -d -o premiere /data
USER premiere
# docker build --build-arg SOURCE_COMMIT=$(git rev-parse HEAD): an image has no checkout to ask
ARG SOURCE_COMMIT=unknown
ENV SOURCE_COMMIT=$SOURCE_COMMIT
# Two arenas: glibc would keep one for each thread, and their sum is what a memory limit counts.
ENV PYTHONUNBUFFERED=1 DATA_HOME=/data MALLOC_ARENA_MAX=2
