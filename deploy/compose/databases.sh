#!/bin/sh
# Run once by the PostgreSQL image on an empty data folder: a database and a user for each of those who need one.
set -eu
for name in airflow contrail warehouse; do
  psql -v ON_ERROR_STOP=1 -v name="$name" -v password="$(cat "/keys/$name")" \
    --username "$POSTGRES_USER" --dbname postgres <<'SQL'
create user :"name" password :'password';
create database :"name" owner :"name";
revoke all on database :"name" from public;
SQL
done
