# PostgreSQL from Debian, started as the official image is.
FROM python:3.11-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends postgresql-common \
 && sed -i "s/^#create_main_cluster.*/create_main_cluster = false/" /etc/postgresql-common/createcluster.conf \
 && apt-get install --yes --no-install-recommends postgresql \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
 && install -d -o postgres -g postgres -m 700 /var/lib/postgresql/data
COPY postgres.sh /usr/local/bin/
USER postgres
STOPSIGNAL SIGINT
ENTRYPOINT ["sh", "/usr/local/bin/postgres.sh"]
CMD ["postgres"]
