# Make the databases the first time, whole or not at all: a start that was killed is begun anew. Then become the server.
set -eu
PATH="$(echo /usr/lib/postgresql/*/bin):$PATH"
if [ ! -d "$PGDATA" ]; then
  new=$(dirname "$PGDATA")/new
  rm -rf "$new"
  umask 077
  printf %s "$POSTGRES_PASSWORD" >/tmp/password
  initdb --pgdata="$new" --username="$POSTGRES_USER" --pwfile=/tmp/password --encoding=UTF8 --locale=C.UTF-8 \
    --auth-local=trust --auth-host=scram-sha-256
  rm /tmp/password
  echo "host all all all scram-sha-256" >>"$new/pg_hba.conf"
  pg_ctl --pgdata="$new" --options="-c listen_addresses= -c unix_socket_directories=/tmp" --wait start
  for file in /docker-entrypoint-initdb.d/*.sql; do
    psql --host=/tmp --username="$POSTGRES_USER" --dbname=postgres --set=ON_ERROR_STOP=1 --quiet --file="$file"
  done
  pg_ctl --pgdata="$new" --mode=fast --wait stop
  mv "$new" "$PGDATA"
fi
exec "$@" -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp
