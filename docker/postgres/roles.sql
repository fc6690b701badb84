-- Roles, databases and grants of a production PostgreSQL (15 or newer); docs/security.md says who may do what.
--
--   psql --no-psqlrc --dbname postgres --file docker/postgres/roles.sql       as the superuser
--
-- The passwords come from the environment, under the names that .env has, or from psql variables of the lower-case
-- names (--set); none is in this file. It may run again at any time: it changes passwords and grants to what is said
-- here, and no data. The folder docker-entrypoint-initdb.d of the official image runs it as it is.

\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;
-- A server that logs statements would log passwords.
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';
SET password_encryption = 'scram-sha-256';

\if :{?airflow_db_password}
\else
  \set airflow_db_password ''
  \getenv airflow_db_password AIRFLOW_DB_PASSWORD
\endif
\if :{?bidwright_db_password}
\else
  \set bidwright_db_password ''
  \getenv bidwright_db_password BIDWRIGHT_DB_PASSWORD
\endif
\if :{?bidwright_reader_password}
\else
  \set bidwright_reader_password ''
  \getenv bidwright_reader_password BIDWRIGHT_READER_PASSWORD
\endif
\if :{?feast_db_password}
\else
  \set feast_db_password ''
  \getenv feast_db_password FEAST_DB_PASSWORD
\endif

SELECT coalesce(string_agg(name, ', '), '') AS missing, count(*) > 0 AS is_missing
FROM (VALUES
  ('AIRFLOW_DB_PASSWORD', :'airflow_db_password'),
  ('BIDWRIGHT_DB_PASSWORD', :'bidwright_db_password'),
  ('BIDWRIGHT_READER_PASSWORD', :'bidwright_reader_password'),
  ('FEAST_DB_PASSWORD', :'feast_db_password')
) AS given (name, password)
WHERE length(password) < 16 \gset
\if :is_missing
  \warn 'not set, or shorter than 16 characters:' :missing
  \warn 'nothing was changed; write them with: make env'
  DO $$ BEGIN RAISE EXCEPTION 'a password is missing'; END $$;
\endif

-- Roles: none may make databases, roles or replicas, or go round row security; none inherits from another.
SELECT format('CREATE ROLE %I', name)
FROM (VALUES ('airflow'), ('bidwright'), ('bidwright_reader'), ('feast')) AS wanted (name)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

ALTER ROLE airflow LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT PASSWORD :'airflow_db_password';
ALTER ROLE bidwright LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT PASSWORD :'bidwright_db_password';
ALTER ROLE bidwright_reader LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT PASSWORD :'bidwright_reader_password';
ALTER ROLE feast LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT PASSWORD :'feast_db_password';
-- A convenience, not the fence: a client may set it back. The missing grants below are the fence.
ALTER ROLE bidwright_reader SET default_transaction_read_only = on;
ALTER ROLE bidwright_reader SET idle_in_transaction_session_timeout = '60s';

-- Databases, each of one owner; nobody else even connects, but the reader to the platform's.
SELECT format('CREATE DATABASE %I OWNER %I ENCODING ''UTF8'' TEMPLATE template0', name, owner)
FROM (VALUES ('airflow', 'airflow'), ('bidwright', 'bidwright'), ('feast', 'feast')) AS wanted (name, owner)
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec

ALTER DATABASE airflow OWNER TO airflow;
ALTER DATABASE bidwright OWNER TO bidwright;
ALTER DATABASE feast OWNER TO feast;
REVOKE ALL ON DATABASE airflow, bidwright, feast, postgres, template1 FROM PUBLIC;
REVOKE ALL ON DATABASE airflow, bidwright, feast FROM bidwright_reader;
GRANT CONNECT ON DATABASE bidwright TO bidwright_reader;

\connect airflow
ALTER SCHEMA public OWNER TO airflow;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

\connect feast
ALTER SCHEMA public OWNER TO feast;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

-- What the reader reads: the tables that are there, and those that the owner's migrations will make.
\connect bidwright
ALTER SCHEMA public OWNER TO bidwright;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM bidwright_reader;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM bidwright_reader;
GRANT USAGE ON SCHEMA public TO bidwright_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO bidwright_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE bidwright IN SCHEMA public GRANT SELECT ON TABLES TO bidwright_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE bidwright REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
-- Large objects belong to whoever makes one, whatever the grants on tables say.
REVOKE EXECUTE ON FUNCTION lo_create(oid), lo_creat(integer), lo_from_bytea(oid, bytea), lo_put(oid, bigint, bytea), lowrite(integer, bytea) FROM PUBLIC;
