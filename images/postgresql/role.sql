-- Creates the application's role and database where they are missing, and sets the role's password.
\set ON_ERROR_STOP on
\getenv role ROLE_NAME
\getenv database ROLE_DATABASE
\getenv password ROLE_PASSWORD

SELECT format('CREATE ROLE %I', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec

ALTER ROLE :"role" WITH LOGIN PASSWORD :'password';

SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
